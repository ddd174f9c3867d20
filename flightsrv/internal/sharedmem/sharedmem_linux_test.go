package sharedmem

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSlots = 3
	testSlot  = 64 << 10
)

// pair is the two ends of a segment.
func pair(t testing.TB) (*Sender, *Receiver) {
	t.Helper()
	s, err := New(testSlots, testSlot)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Attach(s.Announcement(), testSlot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, r
}

// batch has rows whose values follow from the row and seed.
func batch(t testing.TB, alloc memory.Allocator, seed, rows int) arrow.RecordBatch {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(alloc, schema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(seed*1_000_000 + i))
		if i%7 == 3 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprint(seed, " row ", i))
		}
	}
	return b.NewRecordBatch()
}

// put puts a batch into a slot.
func put(t testing.TB, s *Sender, rec arrow.RecordBatch) (Place, bool) {
	t.Helper()
	payload, err := ipc.GetRecordBatchPayload(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer payload.Release()
	return s.Put(t.Context(), &payload)
}

// decoded is the batch of a message, in the message's own memory.
func decoded(t testing.TB, schema *arrow.Schema, meta, body []byte) arrow.RecordBatch {
	t.Helper()
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := bytes.TrimSuffix(stream.Bytes(), []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	raw = binary.LittleEndian.AppendUint32(append(raw, 0xff, 0xff, 0xff, 0xff), uint32(len(meta)))
	r, err := ipc.NewReader(bytes.NewReader(append(append(raw, meta...), body...)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	rec, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestABatchArrivesInASlotAsItWas(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	s, r := pair(t)
	for seed, rows := range []int{0, 1, 3, 1000} {
		rec := batch(t, alloc, seed, rows)
		for _, view := range []arrow.RecordBatch{rec, rec.NewSlice(int64(rows/3), int64(rows))} {
			place, ok := put(t, s, view)
			if !ok {
				t.Fatalf("%d rows found no place", rows)
			}
			meta, body, err := r.Message(place)
			if err != nil {
				t.Fatal(err)
			}
			if at := (place.Offset + place.Length - int64(len(body))) % bodyAlignment; at != 0 {
				t.Errorf("the body of %d rows begins %d bytes after a multiple of %d", rows, at, bodyAlignment)
			}
			if got := decoded(t, rec.Schema(), meta, body); !array.RecordEqual(got, view) {
				t.Errorf("%d rows: %v instead of %v", rows, got, view)
			}
			r.Free(place.Slot)
			if view != rec {
				view.Release()
			}
		}
		rec.Release()
	}
}

func TestSlotsThatAreHeldAreNeverWrittenAndOneThatIsFreeIsFoundAgain(t *testing.T) {
	s, r := pair(t)
	rec := batch(t, memory.DefaultAllocator, 1, 10)
	defer rec.Release()
	var places []Place
	for range testSlots {
		place, ok := put(t, s, rec)
		if _, _, err := r.Message(place); !ok || err != nil {
			t.Fatal(ok, err)
		}
		places = append(places, place)
	}
	if place, ok := put(t, s, rec); ok {
		t.Fatalf("slot %d was given out twice", place.Slot)
	}
	if !s.hopeless {
		t.Error("the sender would wait again for what it has waited for in vain")
	}
	r.Free(places[1].Slot)
	if place, ok := put(t, s, rec); !ok || place.Slot != places[1].Slot || s.hopeless {
		t.Errorf("slot %d was given back; got %d, %v", places[1].Slot, place.Slot, ok)
	}
}

// whileWaiting is a context that does something when somebody begins to wait on it.
type whileWaiting struct {
	context.Context
	do func()
}

func (w whileWaiting) Done() <-chan struct{} { w.do(); return w.Context.Done() }

func TestASenderWaitsForASlotThatIsAboutToBeGivenBack(t *testing.T) {
	s, r := pair(t)
	rec := batch(t, memory.DefaultAllocator, 1, 10)
	defer rec.Release()
	for range testSlots {
		place, ok := put(t, s, rec)
		if _, _, err := r.Message(place); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	payload, err := ipc.GetRecordBatchPayload(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer payload.Release()
	for n := range 10 {
		waited := false
		ctx := whileWaiting{t.Context(), func() { waited = true; r.Free(n % testSlots) }}
		place, ok := s.Put(ctx, &payload)
		if !waited || !ok || place.Slot != n%testSlots {
			t.Fatalf("waited=%v, ok=%v, slot %d; slot %d was given back", waited, ok, place.Slot, n%testSlots)
		}
		if _, _, err := r.Message(place); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheEndOfAStreamEndsTheWaitForASlot(t *testing.T) {
	s, _ := pair(t)
	rec := batch(t, memory.DefaultAllocator, 1, 10)
	defer rec.Release()
	for range testSlots {
		if _, ok := put(t, s, rec); !ok {
			t.Fatal("no slot")
		}
	}
	payload, err := ipc.GetRecordBatchPayload(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer payload.Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := s.Put(ctx, &payload); ok || s.hopeless {
		t.Errorf("ok=%v hopeless=%v after the stream's end", ok, s.hopeless)
	}
}

func TestABatchThatFitsNoSlotAndASegmentThatNobodyHasAttachedAreNoPlace(t *testing.T) {
	s, _ := pair(t)
	large := batch(t, memory.DefaultAllocator, 1, 20_000)
	defer large.Release()
	if _, ok := put(t, s, large); ok {
		t.Error("a batch larger than a slot was put into one")
	}
	alone, err := New(1, testSlot)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alone.Close() }()
	small := batch(t, memory.DefaultAllocator, 1, 1)
	defer small.Release()
	if _, ok := put(t, alone, small); ok {
		t.Error("a batch was put where nobody looks")
	}
}

func TestOnlyTheSegmentThatWasAnnouncedIsAttached(t *testing.T) {
	s, err := New(testSlots, testSlot)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	sound := s.Announcement()
	file, err := os.Create(filepath.Join(t.TempDir(), "regular"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(sound.Size); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(s.mem[:pageBytes], 0); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	open, err := unix.MemfdCreate("open", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(open) }()
	if _, err := unix.Pwrite(open, s.mem, 0); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(a *Announcement){
		"another nonce":             func(a *Announcement) { a.Nonce = strings.Repeat("00", nonceBytes) },
		"a nonce that is none":      func(a *Announcement) { a.Nonce = "xyz" },
		"a shorter nonce":           func(a *Announcement) { a.Nonce = a.Nonce[:30] },
		"less":                      func(a *Announcement) { a.Size -= pageBytes },
		"more":                      func(a *Announcement) { a.Size += pageBytes },
		"nothing":                   func(a *Announcement) { a.Size = 0 },
		"all memory":                func(a *Announcement) { a.Size = 1 << 62 },
		"a descriptor that is none": func(a *Announcement) { a.FD = 1 << 20 },
		"a negative descriptor":     func(a *Announcement) { a.FD = -1 },
		"a process that is none":    func(a *Announcement) { a.PID = 1<<22 + 1 },
		"a file":                    func(a *Announcement) { a.FD = int(file.Fd()) },
		"a pipe":                    func(a *Announcement) { a.FD = int(pipe.Fd()) },
		"memory that is not sealed": func(a *Announcement) { a.FD = open },
	} {
		a := sound
		change(&a)
		if r, err := Attach(a, testSlot); err == nil {
			t.Errorf("%s was attached", name)
			_ = r.Close()
		}
	}
	if r, err := Attach(sound, testSlot-1); err == nil {
		t.Error("slots larger than what is accepted were attached")
		_ = r.Close()
	}
	if s.Attached() {
		t.Error("an attempt that failed counts as attached")
	}
	r, err := Attach(sound, testSlot)
	if err != nil || !s.Attached() {
		t.Fatalf("the segment itself: %v", err)
	}
	_ = r.Close()
}

func TestAControlPageThatLiesIsNotAttached(t *testing.T) {
	for name, lie := range map[string]func(mem []byte){
		"another mark":   func(mem []byte) { mem[0] = 'H' },
		"no slots":       func(mem []byte) { binary.LittleEndian.PutUint32(mem[atSlots:], 0) },
		"too many slots": func(mem []byte) { binary.LittleEndian.PutUint32(mem[atSlots:], maxSlots+1) },
		"one slot more":  func(mem []byte) { binary.LittleEndian.PutUint32(mem[atSlots:], testSlots+1) },
		"larger slots":   func(mem []byte) { binary.LittleEndian.PutUint32(mem[atSlotBytes:], testSlot+pageBytes) },
		"odd slots": func(mem []byte) {
			binary.LittleEndian.PutUint32(mem[atSlots:], 2*testSlots)
			binary.LittleEndian.PutUint32(mem[atSlotBytes:], testSlot/2+1)
		},
	} {
		s, err := New(testSlots, testSlot)
		if err != nil {
			t.Fatal(err)
		}
		lie(s.mem)
		if r, err := Attach(s.Announcement(), testSlot); err == nil {
			t.Errorf("%s was attached", name)
			_ = r.Close()
		}
		_ = s.Close()
	}
}

func TestAPlaceThatLiesIsRefused(t *testing.T) {
	s, r := pair(t)
	rec := batch(t, memory.DefaultAllocator, 1, 10)
	defer rec.Release()
	sound, ok := put(t, s, rec)
	if !ok {
		t.Fatal("no place")
	}
	prefix := s.slot(sound.Slot)[sound.Offset:]
	refused := func(name string, p Place) {
		t.Helper()
		if _, _, err := r.Message(p); err == nil {
			t.Errorf("%s was read", name)
			r.Free(p.Slot)
			s.state(p.Slot).Store(inUse)
		}
	}
	for name, change := range map[string]func(p *Place){
		"a slot before the first":        func(p *Place) { p.Slot = -1 },
		"a slot after the last":          func(p *Place) { p.Slot = testSlots },
		"a slot that is free":            func(p *Place) { p.Slot++ },
		"a negative offset":              func(p *Place) { p.Offset = -8 },
		"an offset that is not aligned":  func(p *Place) { p.Offset++ },
		"an offset beyond the slot":      func(p *Place) { p.Offset = testSlot + 8 },
		"an offset beyond all numbers":   func(p *Place) { p.Offset = 1<<63 - 8 },
		"a length beyond the slot":       func(p *Place) { p.Length = testSlot - p.Offset + 1 },
		"a length beyond all numbers":    func(p *Place) { p.Length = 1<<63 - 1 },
		"a negative length":              func(p *Place) { p.Length = -1 },
		"no length":                      func(p *Place) { p.Length = 0 },
		"a length less than the prefix":  func(p *Place) { p.Length = 7 },
		"a length that cuts the header":  func(p *Place) { p.Length = 16 },
		"a place where no message lies":  func(p *Place) { p.Offset += 8; p.Length -= 8 },
		"the end of a slot with nothing": func(p *Place) { p.Offset, p.Length = testSlot, 0 },
	} {
		p := sound
		change(&p)
		refused(name, p)
	}
	n := binary.LittleEndian.Uint32(prefix[4:])
	for name, lie := range map[string]uint32{"no metadata": 0, "odd metadata": n - 1, "metadata beyond the message": uint32(sound.Length), "negative metadata": 0xFFFFFFF8} {
		binary.LittleEndian.PutUint32(prefix[4:], lie)
		refused(name, sound)
	}
	binary.LittleEndian.PutUint32(prefix[4:], n)
	if _, _, err := r.Message(sound); err != nil {
		t.Fatal(err)
	}
	refused("a slot that was announced twice", sound)
	r.Free(sound.Slot)
	refused("a slot that was given back", sound)
}

func TestMetadataThatWasReadIsNotChangedByItsSender(t *testing.T) {
	s, r := pair(t)
	rec := batch(t, memory.DefaultAllocator, 1, 10)
	defer rec.Release()
	place, _ := put(t, s, rec)
	meta, _, err := r.Message(place)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(meta)
	clear(s.slot(place.Slot))
	if !bytes.Equal(meta, want) {
		t.Error("the metadata still lies in the slot")
	}
}

func TestTheReceiverKeepsTheMemoryOfASenderThatIsGone(t *testing.T) {
	s, err := New(1, testSlot)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Attach(s.Announcement(), testSlot)
	if err != nil {
		t.Fatal(err)
	}
	rec := batch(t, memory.DefaultAllocator, 1, 1000)
	defer rec.Release()
	place, _ := put(t, s, rec)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	meta, body, err := r.Message(place)
	if err != nil {
		t.Fatal(err)
	}
	if got := decoded(t, rec.Schema(), meta, body); !array.RecordEqual(got, rec) {
		t.Error("the batch has changed")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestSegmentsThatCannotBeAreNotMade(t *testing.T) {
	for _, c := range [][2]int{{0, 4096}, {maxSlots + 1, 4096}, {1, 0}, {1, 4095}, {1, -4096}} {
		if s, err := New(c[0], c[1]); err == nil {
			t.Errorf("a segment of %v was made", c)
			_ = s.Close()
		}
	}
}

func BenchmarkPut(b *testing.B) {
	const rows = 20_000
	s, err := New(4, 4<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, err := Attach(s.Announcement(), 4<<20)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	rec := batch(b, memory.DefaultAllocator, 1, rows)
	defer rec.Release()
	b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			place, ok := put(b, s, rec)
			if _, _, err := r.Message(place); !ok || err != nil {
				b.Fatal(ok, err)
			}
			b.SetBytes(place.Length)
			r.Free(place.Slot)
		}
	})
}
