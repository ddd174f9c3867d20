package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheMemoryBudgetIsHalfOfWhatThereIs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if n, ok := machineMemory(write("meminfo", "MemTotal:       24611344 kB\nMemFree: 1 kB\n")); !ok || n != 24611344<<10 {
		t.Errorf("machine: %d, %v", n, ok)
	}
	if n, ok := containerLimit(write("limited", "1073741824\n")); !ok || n != 1<<30 {
		t.Errorf("container: %d, %v", n, ok)
	}
	for _, text := range []string{"max\n", "", "-1", "x"} {
		if n, ok := containerLimit(write("max", text)); ok {
			t.Errorf("%q is a limit of %d", text, n)
		}
	}
	if _, ok := machineMemory(filepath.Join(dir, "absent")); ok {
		t.Error("a missing file told a size")
	}
	if got := (Config{Memory: Memory{Budget: 7}}).MemoryBudget(); got != 7 {
		t.Errorf("the setting was replaced by %d", got)
	}
	if got := (Config{}).MemoryBudget(); got < 256<<20 {
		t.Errorf("the default is %d", got)
	}
}
