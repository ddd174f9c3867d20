package datasetslib

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// Python is the Python of HUBFLIGHT_PYTHON; without one the test is skipped. One that has no datasets library fails it.
func Python(t *testing.T) string {
	t.Helper()
	python := os.Getenv("HUBFLIGHT_PYTHON")
	if python == "" {
		t.Skip("HUBFLIGHT_PYTHON names no Python with the datasets library")
	}
	// To import it takes seconds.
	found := exec.CommandContext(t.Context(), python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('datasets') is None)")
	if err := found.Run(); err != nil {
		t.Fatalf("HUBFLIGHT_PYTHON has no datasets library: %v", err)
	}
	return python
}

// Ask runs a script over all questions, with the library's Hub at endpoint, and returns as many answers, in their order.
func Ask[A, Q any](t *testing.T, script, endpoint string, questions []Q) []A {
	t.Helper()
	var input bytes.Buffer
	lines := json.NewEncoder(&input)
	for _, q := range questions {
		if err := lines.Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), Python(t), script)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT="+endpoint, "HF_HOME="+home, "HF_DATASETS_CACHE="+home, "HF_HUB_DISABLE_XET=1",
		"HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_OFFLINE=0", "HF_TOKEN=", "NO_PROXY=*")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = &input, &stderr
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var out []A
	for line := range bytes.Lines(raw) {
		var answer A
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("%v in %.200s", err, line)
		}
		out = append(out, answer)
	}
	if len(out) != len(questions) {
		t.Fatalf("%d answers to %d questions\n%s", len(out), len(questions), stderr.String())
	}
	return out
}
