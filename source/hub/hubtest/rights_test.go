package hubtest_test

import (
	"net/http"
	"testing"

	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestEveryCallerSeesWhatItMay(t *testing.T) {
	file := map[string][]byte{"a.txt": []byte("a"), "a.parquet": []byte("PAR1")}
	hub := hubtest.New(t,
		hubtest.Tokens(map[string]hubtest.Rights{"hf_public": hubtest.Public, "hf_read": hubtest.Read, "hf_write": hubtest.Write}),
		hubtest.Dataset("o/open", file), hubtest.Dataset("o/private", file), hubtest.Dataset("o/gated", file), hubtest.Dataset("o/disabled", file),
		hubtest.WithSettings("o/private", hubtest.Settings{Private: true}), hubtest.WithSettings("o/gated", hubtest.Settings{Gated: "manual"}), hubtest.WithSettings("o/disabled", hubtest.Settings{Disabled: true}))
	type result struct {
		status  int
		code    string
		message string
	}
	const (
		info    = "/api/datasets/%"
		content = "/datasets/%/resolve/main/a.parquet"
		change  = "/api/datasets/%/auth-check/write"
	)
	ok := result{http.StatusOK, "", ""}
	moved := result{http.StatusFound, "", ""}
	hidden := result{http.StatusUnauthorized, "RepoNotFound", "Invalid username or password."}
	missing := result{http.StatusNotFound, "RepoNotFound", "Repository not found"}
	badToken := result{http.StatusUnauthorized, "", "Invalid credentials in Authorization header"}
	login := result{http.StatusUnauthorized, "GatedRepo", "restricted"}
	gated := result{http.StatusForbidden, "GatedRepo", "restricted"}
	disabled := result{http.StatusForbidden, "", "Access to this resource is disabled."}
	noWrite := result{http.StatusForbidden, "", "write token"}
	nobody := result{http.StatusUnauthorized, "", "Invalid username or password."}
	for _, tc := range []struct {
		repo, route string
		want        [5]result // nobody, forged, public, read, write
	}{
		{"o/open", info, [5]result{ok, badToken, ok, ok, ok}},
		{"o/open", content, [5]result{moved, badToken, moved, moved, moved}},
		{"o/open", change, [5]result{nobody, badToken, noWrite, noWrite, ok}},
		{"o/private", info, [5]result{hidden, badToken, missing, ok, ok}},
		{"o/private", content, [5]result{hidden, badToken, missing, moved, moved}},
		{"o/private", change, [5]result{hidden, badToken, missing, noWrite, ok}},
		{"o/gated", info, [5]result{ok, badToken, ok, ok, ok}},
		{"o/gated", content, [5]result{login, badToken, gated, moved, moved}},
		{"o/disabled", info, [5]result{disabled, badToken, disabled, disabled, disabled}},
		{"o/missing", info, [5]result{hidden, badToken, missing, missing, missing}},
		{"o/missing", content, [5]result{hidden, badToken, missing, missing, missing}},
	} {
		for i, token := range []string{"", "hf_forged", "hf_public", "hf_read", "hf_write"} {
			t.Run(tc.repo+" "+tc.route+" "+token, func(t *testing.T) {
				target := tc.route[:len(tc.route)-len(afterPercent(tc.route))-1] + tc.repo + afterPercent(tc.route)
				want := tc.want[i]
				connect(t, hub, token).do(http.MethodGet, target, nil).want(t, want.status, want.code, want.message)
			})
		}
	}
}

func afterPercent(s string) string {
	for i := range len(s) {
		if s[i] == '%' {
			return s[i+1:]
		}
	}
	return ""
}

func TestAPrivateFileIsNotServedBehindItsRedirect(t *testing.T) {
	hub := hubtest.New(t, hubtest.Tokens(map[string]hubtest.Rights{"hf_read": hubtest.Read, "hf_public": hubtest.Public}),
		hubtest.Dataset(repo, map[string][]byte{"a.txt": []byte("secret")}), hubtest.WithSettings(repo, hubtest.Settings{Private: true}))
	to := connect(t, hub, "hf_read").do(http.MethodGet, "/datasets/"+repo+"/resolve/main/a.txt", nil).Header.Get("Location")
	connect(t, hub, "hf_read").do(http.MethodGet, to, nil).want(t, http.StatusOK, "", "")
	connect(t, hub, "").do(http.MethodGet, to, nil).want(t, http.StatusUnauthorized, "RepoNotFound", "")
	connect(t, hub, "hf_public").do(http.MethodGet, to, nil).want(t, http.StatusNotFound, "RepoNotFound", "")
}

func TestAnOpenHubLetsEverybodyWrite(t *testing.T) {
	hub := hubtest.New(t, hubtest.Dataset(repo, nil))
	for _, token := range []string{"", "hf_any"} {
		connect(t, hub, token).commit("main", "", fileLine("a"+token, "a")).want(t, http.StatusOK, "", "")
	}
	connect(t, hub, "").do(http.MethodGet, "/api/whoami-v2", nil).want(t, http.StatusUnauthorized, "", "")
	connect(t, hub, "hf_any").do(http.MethodGet, "/api/whoami-v2", nil).want(t, http.StatusOK, "", "")
}
