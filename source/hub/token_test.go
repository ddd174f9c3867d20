package hub_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hubflight/hubflight/source/hub"
)

func TestTheTokenIsFoundWhereTheHubsToolsFindIt(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write("own", " hf_own\r\n")
	write("hf/token", "hf_home\n")
	write(".cache/huggingface/token", "hf_default")
	write("xdg/huggingface/token", "hf_xdg")
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"nothing set: the login file":         {nil, "hf_default"},
		"HF_TOKEN first":                      {map[string]string{"HF_TOKEN": "hf_env\n", "HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_TOKEN_PATH": own}, "hf_env"},
		"an empty HF_TOKEN falls through":     {map[string]string{"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_old"}, "hf_old"},
		"HF_TOKEN_PATH before HF_HOME":        {map[string]string{"HF_TOKEN_PATH": own, "HF_HOME": filepath.Join(home, "hf")}, "hf_own"},
		"HF_HOME, with a variable":            {map[string]string{"HF_HOME": "$BASE/hf", "BASE": home}, "hf_home"},
		"HF_HOME, with a tilde":               {map[string]string{"HF_HOME": "~/hf"}, "hf_home"},
		"XDG_CACHE_HOME":                      {map[string]string{"XDG_CACHE_HOME": filepath.Join(home, "xdg")}, "hf_xdg"},
		"a missing file is no token":          {map[string]string{"HF_HOME": filepath.Join(home, "nowhere")}, ""},
		"implicit tokens may be switched off": {map[string]string{"HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "yes"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_OIDC_RESOURCE"} {
				t.Setenv(key, c.env[key])
			}
			t.Setenv("HOME", home)
			t.Setenv("BASE", c.env["BASE"])
			got, err := hub.ReadTokenFromEnvironment()
			if err != nil || got.Reveal() != c.want {
				t.Errorf("got %q, %v; want %q", got.Reveal(), err, c.want)
			}
		})
	}
}
