package hubtest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
)

// caller is who sends a request.
type caller struct {
	anonymous bool // no token was sent
	name      string
	rights    Rights // 0 for nobody, who reads public repositories
}

// need is what a route asks of its caller.
type need uint8

const (
	// see: names, commits and listings. A gate does not hide these.
	see need = iota
	// read: contents; a gate closes them.
	read
	// propose: open a pull request; whoever reads may, with a token.
	propose
	// write: change the repository.
	write
)

// authenticate finds out who is calling. A token that nobody issued is refused
// even for public repositories.
func (h *Hub) authenticate(r *http.Request) (caller, error) {
	sent := r.Header.Get("Authorization")
	open := len(h.options.Tokens) == 0
	if sent == "" {
		who := caller{anonymous: true, name: "user"}
		if open {
			who.rights = Write
		}
		return who, nil
	}
	token, ok := strings.CutPrefix(sent, "Bearer ")
	if token = strings.TrimSpace(token); ok && token != "" {
		if open {
			return caller{name: userName(token), rights: Write}, nil
		}
		// Hashes of one length, compared in constant time: nothing about a token
		// is learned from how long a refusal takes.
		want := sha256.Sum256([]byte(token))
		for known, rights := range h.options.Tokens {
			if got := sha256.Sum256([]byte(known)); subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
				return caller{name: userName(known), rights: rights}, nil
			}
		}
	}
	return caller{}, refuse(http.StatusUnauthorized, "", "Invalid credentials in Authorization header")
}

// open returns the call's repository if the caller may do that with it.
func (c *call) open(need need) (*repo, error) {
	r, moved := c.h.find(c.id), false
	if r == nil {
		r, moved = c.h.movedTo(c.id), true
	}
	if r == nil {
		return nil, c.invisible()
	}
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	if s.Private && c.who.rights < Read {
		return nil, c.invisible()
	}
	if moved {
		return nil, &movedError{c.renamed(r.id)}
	}
	if s.Disabled {
		return nil, refuse(http.StatusForbidden, "", "Access to this resource is disabled.")
	}
	if s.Gated != "" && c.who.rights < Read && need >= read {
		return nil, c.gated(r)
	}
	switch {
	case need >= propose && c.who.rights == 0:
		return nil, refuse(http.StatusUnauthorized, "", "Invalid username or password.")
	case need == write && c.who.rights < Write:
		return nil, refuse(http.StatusForbidden, "", "Forbidden: you must use a write token to upload to a repository.")
	}
	return r, nil
}

// invisible answers for a repository that is missing or that the caller must
// not know of. The two look alike.
func (c *call) invisible() error {
	if c.who.anonymous {
		return refuse(http.StatusUnauthorized, codeRepo, "Invalid username or password.")
	}
	return refuse(http.StatusNotFound, codeRepo, "Repository not found")
}

func (c *call) gated(r *repo) error {
	if c.who.anonymous {
		return refuse(http.StatusUnauthorized, codeGated, "Access to dataset %s is restricted. You must have access to it and be authenticated to access it. Please log in.", r.id)
	}
	return refuse(http.StatusForbidden, codeGated, "Access to dataset %s is restricted and you are not in the authorized list. Visit %s/datasets/%s to ask for access.", r.id, c.base(), r.id)
}

// requestID returns the caller's trace id, or a new one.
func requestID(r *http.Request) string {
	for _, name := range []string{"X-Request-Id", "X-Amzn-Trace-Id"} {
		if id := r.Header.Get(name); id != "" && len(id) <= 128 {
			return headerText(id)
		}
	}
	raw := make([]byte, 16)
	rand.Read(raw) // never fails
	return "Root=1-" + hex.EncodeToString(raw[:4]) + "-" + hex.EncodeToString(raw[4:])
}

// whoami answers who the token's owner is.
func whoami(c *call) error {
	if c.who.anonymous {
		return refuse(http.StatusUnauthorized, "", "Invalid username or password.")
	}
	role := "read"
	if c.who.rights == Write {
		role = "write"
	}
	return c.json(map[string]any{
		"type": "user", "id": c.who.name, "name": c.who.name, "fullname": c.who.name,
		"orgs": []any{},
		"auth": map[string]any{"type": "access_token", "accessToken": map[string]any{"displayName": c.who.name, "role": role}},
	})
}

// authCheck answers whether the caller may read, or write ("auth-check/write").
func authCheck(c *call) error {
	want := read
	switch c.path() {
	case "":
	case "write":
		want = write
	default:
		return refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
	if _, err := c.open(want); err != nil {
		return err
	}
	return c.json(map[string]bool{"ok": true})
}
