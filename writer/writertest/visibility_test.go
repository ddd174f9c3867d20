package writertest

import (
	"testing"

	"github.com/hubflight/hubflight/writer"
)

// TestADatasetIsCreatedPrivateUnlessTheJobSaysOtherwise: what is written by mistake is
// not published by it.
func TestADatasetIsCreatedPrivateUnlessTheJobSaysOtherwise(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		given *bool
		want  bool
	}{"nothing": {nil, true}, "true": {&yes, true}, "false": {&no, false}} {
		r := newRig(t)
		if err := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.Private = c.given }).Begin(); err != nil {
			t.Fatal(err)
		}
		if settings, err := r.hub.Settings(repo); err != nil || settings.Private != c.want {
			t.Errorf("private: %s: %+v, %v", name, settings, err)
		}
	}
}
