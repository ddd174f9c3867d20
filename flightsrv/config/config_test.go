package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/hubflight/hubflight/flightsrv/config"
)

func load(t *testing.T, args ...string) (config.Config, []config.Setting, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	config.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(fs)
}

func sourceOf(settings []config.Setting, key string) string {
	for _, s := range settings {
		if s.Key == key {
			return s.Source
		}
	}
	return "absent"
}

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "server:\n  address: 127.0.0.1:1\n  max_streams: 7\n  drain_grace: 5s\nlocal:\n  roots: [/a, /b]\nserver.max_message: 32MiB\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HUBFLIGHT_SERVER_ADDRESS", "127.0.0.1:2")
	t.Setenv("HUBFLIGHT_SERVER_MAX_STREAMS", "8")
	cfg, settings, err := load(t, "--config", file, "--server.address", "127.0.0.1:3")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server.Address != "127.0.0.1:3" || cfg.Server.MaxStreams != 8 || cfg.Server.DrainGrace != 5*time.Second || len(cfg.Local.Roots) != 2 {
		t.Errorf("got %+v %+v", cfg.Server, cfg.Local)
	}
	for key, want := range map[string]string{
		"server.address": "flag", "server.max_streams": "env HUBFLIGHT_SERVER_MAX_STREAMS", "server.drain_grace": "file", "hub.connections": "default",
	} {
		if got := sourceOf(settings, key); got != want {
			t.Errorf("%s comes from %q, want %q", key, got, want)
		}
	}
}

func TestRootsFromTheEnvironmentAreSeparatedLikePATH(t *testing.T) {
	t.Setenv("HUBFLIGHT_LOCAL_ROOTS", "/a"+string(os.PathListSeparator)+"/b")
	cfg, _, err := load(t)
	if err != nil || strings.Join(cfg.Local.Roots, " ") != "/a /b" {
		t.Errorf("got %q, %v", cfg.Local.Roots, err)
	}
}

func TestAddressesFromTheEnvironmentAreSeparatedByCommas(t *testing.T) {
	t.Setenv("HUBFLIGHT_SERVER_ADVERTISE", "grpc://a:8815, grpc+tls://[::1]:8816")
	t.Setenv("HUBFLIGHT_LOCAL_ROOTS", "/a, b")
	cfg, _, err := load(t)
	if err != nil || strings.Join(cfg.Server.Advertise, " ") != "grpc://a:8815 grpc+tls://[::1]:8816" {
		t.Errorf("got %q, %v", cfg.Server.Advertise, err)
	}
	if len(cfg.Local.Roots) != 1 || cfg.Local.Roots[0] != "/a, b" {
		t.Errorf("a folder with a comma became %q", cfg.Local.Roots)
	}
}

func TestNumbersOfAJSONFileAreNotRounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"server": {"max_message": 67108865, "max_streams": 1048576}, "memory.budget": 12884901889}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := load(t, "--config", file)
	if err != nil || cfg.Server.MaxMessage != 67108865 || cfg.Server.MaxStreams != 1<<20 || cfg.Memory.Budget != 12884901889 {
		t.Errorf("got %d, %d and %d, %v", cfg.Server.MaxMessage, cfg.Server.MaxStreams, cfg.Memory.Budget, err)
	}
}

func TestALocationThatNoClientTakesIsNotAdvertised(t *testing.T) {
	for location, ok := range map[string]bool{
		"grpc://host:8815": true, "grpc+tls://[::1]:1": true, "grpc+tcp://host:1": true,
		"grpc://host": false, "grpc://:8815": false, "host:8815": false, "http://host:1": false, "grpcs://host:1": false,
	} {
		_, _, err := load(t, "--server.advertise", location)
		if (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "server.advertise: ") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestAnUnknownKeyOfTheFileIsRefusedWithTheNearest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("[server]\nadress = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := load(t, "--config", file)
	if err == nil || !strings.Contains(err.Error(), "did you mean server.address?") {
		t.Errorf("got %v", err)
	}
}

func TestValidateReportsEveryProblemWithItsKey(t *testing.T) {
	_, _, err := load(t, "--server.address", "0.0.0.0:1", "--auth.mode", "nobody", "--log.level", "loud", "--hub.endpoint", "ftp://x", "--server.max_streams", "0")
	if err == nil {
		t.Fatal("nothing was refused")
	}
	for _, want := range []string{"auth.mode:", "log.level:", "hub.endpoint:", "server.max_streams:", "server.address:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s\n%v", want, err)
		}
	}
}

func TestAValueOutsideItsBoundsIsToldInTheSettingsOwnUnits(t *testing.T) {
	_, _, err := load(t, "--server.drain_grace", "2h", "--scan.range_max", "1GiB", "--hub.connections", "0")
	want := "hub.connections: 0 is outside 1…4096\nscan.range_max: 1GiB is outside 64KiB…256MiB\nserver.drain_grace: 2h0m0s is outside 0s…1h0m0s"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAnOpenServerNeedsToBeAskedForByName(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"--server.address", "localhost:0"}, true},
		{[]string{"--server.address", "[::1]:0"}, true},
		{[]string{"--server.address", "0.0.0.0:8815"}, false},
		{[]string{"--server.address", ":8815"}, false},
		{[]string{"--server.address", "0.0.0.0:8815", "--auth.mode", "hub"}, false},
		{[]string{"--server.address", "0.0.0.0:8815", "--server.insecure"}, true},
		{[]string{"--server.address", "0.0.0.0:8815", "--auth.mode", "hub", "--server.tls.cert", "c", "--server.tls.key", "k"}, true},
		// The Hub does not know who may use a folder, and any word is a token.
		{[]string{"--server.address", "0.0.0.0:8815", "--auth.mode", "hub", "--server.tls.cert", "c", "--server.tls.key", "k", "--local.roots", "/data"}, false},
		{[]string{"--server.address", "0.0.0.0:8815", "--auth.mode", "hub", "--server.tls.cert", "c", "--server.tls.key", "k", "--local.roots", "/data", "--server.tls.client_ca", "ca"}, true},
		{[]string{"--server.address", "0.0.0.0:8815", "--auth.mode", "token", "--auth.token_file", "t", "--server.tls.cert", "c", "--server.tls.key", "k", "--local.roots", "/data"}, true},
		{[]string{"--server.address", "127.0.0.1:8815", "--auth.mode", "hub", "--local.roots", "/data"}, true},
	} {
		if _, _, err := load(t, c.args...); (err == nil) != c.ok {
			t.Errorf("%v: got %v, want ok=%v", c.args, err, c.ok)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "7": 7, "64MiB": 64 << 20, "128m": 128 << 20, "1 GB": 1e9, "2KB": 2000, "3k": 3072} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5M", "1XB", "9999999999999T"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	for _, n := range []config.Size{0, 1, 1023, 1 << 10, 64 << 20, 1e9} {
		if got, err := config.ParseSize(n.String()); err != nil || got != n {
			t.Errorf("%d prints as %s, which reads as %d, %v", n, n, got, err)
		}
	}
}
