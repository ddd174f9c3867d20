package hub

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// ReadTokenFromEnvironment finds the machine's Hub token as the Hub's own tools
// do: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the login file (HF_TOKEN_PATH, else
// $HF_HOME/token). No token is no error. It reads anew on every call, so that a
// new login is seen.
func ReadTokenFromEnvironment() (source.HubToken, error) {
	const op = "hub token"
	if truthy("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return source.HubToken{}, nil
	}
	if os.Getenv("HF_OIDC_RESOURCE") != "" {
		return source.HubToken{}, source.Errorf(source.KindUnsupported, op, "HF_OIDC_RESOURCE asks for a token exchange, which is not supported").
			WithHint("unset it and set HF_TOKEN")
	}
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if token := source.NewHubToken(os.Getenv(name)); !token.IsZero() {
			return token, nil
		}
	}
	path, err := tokenPath()
	if err != nil {
		return source.HubToken{}, nil // no home, hence no login
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return source.HubToken{}, nil
	}
	if err != nil {
		return source.HubToken{}, source.Errorf(source.KindInvalid, op, "the login file that HF_TOKEN_PATH or HF_HOME names cannot be read: %w", errors.Unwrap(err))
	}
	defer f.Close()
	const limit = 16 << 10
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || len(raw) > limit {
		return source.HubToken{}, source.Errorf(source.KindInvalid, op, "the login file that HF_TOKEN_PATH or HF_HOME names is no token file")
	}
	return source.NewHubToken(string(raw)), nil
}

func tokenPath() (string, error) {
	if path := os.Getenv("HF_TOKEN_PATH"); path != "" {
		return expand(path)
	}
	home := os.Getenv("HF_HOME")
	if home == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			cache = "~/.cache"
		}
		home = filepath.Join(cache, "huggingface")
	}
	home, err := expand(home)
	return filepath.Join(home, "token"), err
}

// expand replaces $VAR and a leading ~.
func expand(path string) (string, error) {
	path = os.ExpandEnv(path)
	if path == "~" || strings.HasPrefix(path, "~/") {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(home, path[1:])
	}
	return path, nil
}
