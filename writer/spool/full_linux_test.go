package spool

import (
	"os"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/source"
)

// TestAFullDiskIsBusyAndItsFileGivesItsRoomBack writes to the device that is always
// full. What a whole server does on a disk of its own that is full or read-only is
// tested in flightsrv.
func TestAFullDiskIsBusyAndItsFileGivesItsRoomBack(t *testing.T) {
	s := open(t, t.TempDir(), 10<<20)
	f := create(t, t.Context(), s)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := f.f.Name()
	if err := f.f.Close(); err != nil {
		t.Fatal(err)
	}
	f.f = full
	_, err = f.Write(make([]byte, 1000))
	if source.KindOf(err) != source.KindBusy || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v", err)
	}
	if err := f.WriteAll([][]byte{make([]byte, 1000), make([]byte, 1000)}); source.KindOf(err) != source.KindBusy {
		t.Errorf("together: %v", err)
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	if f.f, err = os.Open(name); err != nil { // so that Remove finds the file by its name
		t.Fatal(err)
	}
	if err := f.Remove(); err != nil || s.Used() != 0 {
		t.Errorf("%v, %d bytes in use", err, s.Used())
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("the file is still there")
	}
}
