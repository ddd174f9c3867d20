package hub_test

import (
	"testing"

	"github.com/hubflight/hubflight/source/hub"
)

func TestTheEndpointIsTheOneThatTheHubsOwnProgramsWouldUse(t *testing.T) {
	for _, c := range []struct{ endpoint, staging, want string }{
		{"", "", ""},
		{"", "0", ""},
		{"", "yes", "https://hub-ci.huggingface.co"},
		{"", "1", "https://hub-ci.huggingface.co"},
		{"http://localhost:1/hf", "TRUE", "http://localhost:1/hf"},
		{"http://localhost:1/hf", "", "http://localhost:1/hf"},
	} {
		t.Setenv("HF_ENDPOINT", c.endpoint)
		t.Setenv("HUGGINGFACE_CO_STAGING", c.staging)
		if got := hub.EndpointFromEnvironment(); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestEitherOfTwoSwitchesTakesTheHubAway(t *testing.T) {
	for _, c := range []struct {
		hub, transformers string
		want              bool
	}{{"", "", false}, {"1", "", true}, {"", "on", true}, {"no", "off", false}, {"False", "True", true}} {
		t.Setenv("HF_HUB_OFFLINE", c.hub)
		t.Setenv("TRANSFORMERS_OFFLINE", c.transformers)
		if got := hub.OfflineFromEnvironment(); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
