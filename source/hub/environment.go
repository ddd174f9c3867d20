package hub

import (
	"os"
	"slices"
	"strings"
)

// stagingEndpoint is the Hub's own place for trying things out.
const stagingEndpoint = "https://hub-ci.huggingface.co"

// EndpointFromEnvironment is the Hub that the Hub's own programs would use:
// HF_ENDPOINT, else the staging Hub if HUGGINGFACE_CO_STAGING is true, else "",
// which is the public one.
func EndpointFromEnvironment() string {
	if endpoint := os.Getenv("HF_ENDPOINT"); endpoint != "" {
		return endpoint
	}
	if truthy("HUGGINGFACE_CO_STAGING") {
		return stagingEndpoint
	}
	return ""
}

// OfflineFromEnvironment reports whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is
// true: no request is to be made.
func OfflineFromEnvironment() bool {
	return truthy("HF_HUB_OFFLINE") || truthy("TRANSFORMERS_OFFLINE")
}

// truthy reads a switch as the Hub's own programs do.
func truthy(name string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(name)))
}
