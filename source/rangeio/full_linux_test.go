package rangeio_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hubflight/hubflight/source/rangeio"
)

func TestACacheOnAFullFileSystemGivesRoomBack(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); errors.Is(err, os.ErrPermission) {
		t.Skip("to mount a small file system takes rights that this user does not have")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	d := openDisk(t, dir, 1<<30)
	o := newOrigin(50_000)
	for n := range byte(30) { // more than fit
		readThrough(t, d, o, fileOf(n), rangeio.Range{Off: 0, Len: 50_000})
	}
	left := len(entries(t, dir))
	if err := os.WriteFile(filepath.Join(dir, "somebody-elses"), make([]byte, 60_000), 0o600); err != nil || left < 10 {
		t.Errorf("beside %d entries: %v", left, err)
	}
}
