package writer

import (
	"testing"

	"github.com/hubflight/hubflight/writer/spool"
)

// TestAFileHoldsMoreAsLongAsThereIsAnAllowance, and gives it back however it ends.
func TestAFileHoldsMoreAsLongAsThereIsAnAllowance(t *testing.T) {
	sp, err := spool.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	}()
	rec := numbers(1000)
	defer rec.Release()
	all := newAllowance(2*heldMore + 1)
	opened := func(more *allowance) *encoder {
		enc := newEncoder(Encoding{}.with(Encoding{}), rec.Schema(), sp, false)
		enc.more = more
		if err := enc.write(t.Context(), rec, nil); err != nil {
			t.Fatal(err)
		}
		return enc
	}
	remove := func(f encoded) error { return f.file.Remove() }
	first, second, third, without := opened(all), opened(all), opened(all), opened(nil)
	if !first.leased || !second.leased || third.leased || without.leased || all.free.Load() != 1 {
		t.Errorf("%v, %v, %v and %v hold more, %d bytes are left", first.leased, second.leased, third.leased, without.leased, all.free.Load())
	}
	var sent encoded
	if err := first.finish(func(f encoded) error { sent = f; return nil }); err != nil {
		t.Fatal(err)
	}
	if all.free.Load() != 1 {
		t.Error("the lease of a file that is not sent yet has ended, and its pages are in memory")
	}
	if err := errorsJoin(reread(t.Context(), sent, rec.Schema()), sent.file.Remove()); err != nil {
		t.Fatal(err)
	}
	if err := second.abandon(); err != nil {
		t.Fatal(err)
	}
	if fourth := opened(all); !fourth.leased {
		t.Error("what was given back is not leased again")
	} else if err := errorsJoin(fourth.finish(remove), fourth.abandon()); err != nil { // which gives nothing back twice
		t.Fatal(err)
	}
	if err := errorsJoin(third.finish(remove), without.finish(remove)); err != nil {
		t.Fatal(err)
	}
	if left := all.free.Load(); left != 2*heldMore+1 || sp.Used() != 0 {
		t.Errorf("%d bytes are left of %d; %d are in the spool", left, 2*heldMore+1, sp.Used())
	}
}
