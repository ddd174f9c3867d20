package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

func TestTheTextSaysWhatWhereAndWhatToDo(t *testing.T) {
	err := &source.Error{
		Op: "plan", Kind: source.KindBusy, Msg: "the Hub is busy", Ref: "ns/name@01234567", Path: "data/a.parquet", Column: "a.b",
		Hint: "try again", RetryAfter: 1500 * time.Millisecond,
	}
	want := "[busy] plan: the Hub is busy (ns/name@01234567, file=data/a.parquet, column=a.b): try again (retry after 2s)"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	cause := errors.New("connection refused")
	if got := (&source.Error{Op: "open", Kind: source.KindUpstream, Err: cause}).Error(); got != "[upstream] open: connection refused" {
		t.Errorf("got %s", got)
	}
}

func TestTheOutermostKindCounts(t *testing.T) {
	inner := source.Errorf(source.KindNotFound, "open", "no such file")
	for name, c := range map[string]struct {
		err  error
		want source.Kind
	}{
		"plain":          {errors.New("x"), source.KindInternal},
		"canceled":       {fmt.Errorf("read: %w", context.Canceled), source.KindCanceled},
		"deadline":       {context.DeadlineExceeded, source.KindDeadline},
		"wrapped":        {fmt.Errorf("scan: %w", inner), source.KindNotFound},
		"reclassified":   {source.Errorf(source.KindChanged, "read", "%w", inner), source.KindChanged},
		"not classified": {&source.Error{Op: "scan", Err: inner}, source.KindNotFound},
	} {
		if got := source.KindOf(c.err); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if !errors.Is(source.Errorf(source.KindInvalid, "x", "because: %w", context.Canceled), context.Canceled) {
		t.Error("the cause is lost")
	}
}

func TestEveryKindHasAWireName(t *testing.T) {
	for k := source.KindInvalid; k <= source.KindInternal; k++ {
		if got, ok := source.ParseKind(k.String()); !ok || got != k {
			t.Errorf("%d prints as %q, which reads as %d, %v", k, k, got, ok)
		}
	}
	if _, ok := source.ParseKind("nonsense"); ok {
		t.Error("nonsense is a kind")
	}
}

func TestSecretsAreRemovedFromTexts(t *testing.T) {
	for text, secret := range map[string]string{
		"GET failed with Authorization: Bearer abc.DEF-123":      "abc.DEF-123",
		"Basic dXNlcjpwYXNz was refused":                         "dXNlcjpwYXNz",
		"token hf_abcdefGHIJKL is bad":                           "hf_abcdefGHIJKL",
		"see https://cdn.example/x?X-Amz-Signature=0123456789ab": "0123456789ab",
		"see https://cdn.example/x#access_token=0123456789ab":    "0123456789ab",
		"http://user:hunter22@hub.example/ is down":              "hunter22",
		"http://user:p@hunter22@hub.example/ is down":            "hunter22",
	} {
		for _, shown := range []string{source.Redact(text), source.Errorf(source.KindUpstream, "get", "%s", text).Error(), (&source.Error{Err: errors.New(text)}).Error()} {
			if strings.Contains(shown, secret) {
				t.Errorf("%q shows %q", shown, secret)
			}
		}
	}
	if plain := "data/train-00000-of-00001.parquet has 3 rows? yes"; source.Redact(plain) != plain {
		t.Errorf("an innocent text became %q", source.Redact(plain))
	}
}

func TestAHubTokenPrintsNowhere(t *testing.T) {
	const secret = "hf_secretSECRET"
	token := source.NewHubToken(" " + secret + "\t\r\n")
	if token.Reveal() != secret || token.IsZero() {
		t.Errorf("the token was not trimmed: %q", token.Reveal())
	}
	raw, err := json.Marshal(map[string]any{"token": token, "in": struct{ T source.HubToken }{token}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", token)
	for _, shown := range []string{fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s %q", token, token, token, token, token), string(raw), log.String(), fmt.Sprintf("%+v", struct{ T source.HubToken }{token})} {
		if strings.Contains(shown, "secret") || strings.Contains(shown, "SECRET") {
			t.Errorf("the secret shows in %s", shown)
		}
	}
	if got := fmt.Sprint(source.HubToken{}); got != "[none]" {
		t.Errorf("no token prints as %s", got)
	}
}

func TestWhatAnErrorQuotesIsNotCutInsideACharacter(t *testing.T) {
	for shift := range 3 {
		var c source.Column
		err := json.Unmarshal([]byte(`{"`+strings.Repeat("x", shift)+strings.Repeat("é", 60)+`":1}`), &c)
		if err == nil || !utf8.ValidString(err.Error()) || !strings.HasSuffix(err.Error(), "é…") {
			t.Errorf("got %q", err)
		}
	}
	if short := "größe"; source.Clip(short, len(short)) != short {
		t.Errorf("%s is cut", short)
	}
}

func TestAColumnIsANameOrAPath(t *testing.T) {
	for text, want := range map[string]string{`"a.b"`: "a.b", `["a","b"]`: "a.b"} {
		var c source.Column
		if err := json.Unmarshal([]byte(text), &c); err != nil || c.String() != want || c.IsPath() != (text[0] == '[') {
			t.Errorf("%s: got %+v, %v", text, c, err)
		}
		if raw, err := json.Marshal(c); err != nil || string(raw) != text {
			t.Errorf("%s is written as %s, %v", text, raw, err)
		}
	}
	for _, text := range []string{`""`, `[]`, `["a",""]`, `null`, `1`, `{"a":1}`, `[1]`} {
		var c source.Column
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s was accepted as %+v", text, c)
		}
	}
}
