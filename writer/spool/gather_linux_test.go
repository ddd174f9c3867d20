package spool

import (
	"bytes"
	"testing"
)

// TestWhatIsLeftOfPartsBeginsBehindWhatIsWritten, wherever the kernel has stopped.
func TestWhatIsLeftOfPartsBeginsBehindWhatIsWritten(t *testing.T) {
	parts := [][]byte{[]byte("ab"), nil, []byte("cde"), []byte("f")}
	for n, whole := 0, "abcdef"; n <= len(whole); n++ {
		if got := string(bytes.Join(after(parts, n), nil)); got != whole[n:] {
			t.Errorf("behind %d: %q", n, got)
		}
	}
	if string(bytes.Join(parts, nil)) != "abcdef" {
		t.Error("the caller's parts were changed")
	}
}
