package frame

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSchema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "turns", Type: arrow.ListOf(arrow.StructOf(arrow.Field{Name: "role", Type: arrow.BinaryTypes.String, Nullable: true})), Nullable: true},
}, nil)

// batch makes rows that tell where they are from: every value follows from seed
// and row.
func batch(alloc memory.Allocator, seed, rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(alloc, testSchema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(seed*1_000_000 + i))
		if i%7 == 3 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("batch %d row %d %060d", seed, i, i))
		}
		list := b.Field(2).(*array.ListBuilder)
		list.Append(true)
		for t := range i % 3 {
			list.ValueBuilder().(*array.StructBuilder).Append(true)
			list.ValueBuilder().(*array.StructBuilder).FieldBuilder(0).(*array.StringBuilder).Append(fmt.Sprint(seed, t))
		}
	}
	return b.NewRecordBatch()
}

// marshal is what gRPC does with a message.
func marshal(t *testing.T, m *Message) []byte {
	t.Helper()
	bufs, err := NewCodec().Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	defer bufs.Free()
	if bufs.Len() != m.Len() {
		t.Errorf("%d bytes, Len says %d", bufs.Len(), m.Len())
	}
	return bufs.Materialize()
}

func TestAMessageIsTheFlightDataThatTheStockCodecWouldMake(t *testing.T) {
	codecs := map[string][]ipc.Option{"plain": nil, "lz4": {ipc.WithLZ4()}, "zstd": {ipc.WithZstd()}}
	for name, opts := range codecs {
		for _, rows := range []int{0, 1, 3, 100, 5000} {
			t.Run(fmt.Sprintf("codec=%s/rows=%d", name, rows), func(t *testing.T) {
				alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
				defer alloc.AssertSize(t, 0)
				rec := batch(alloc, 1, rows)
				defer rec.Release()
				for _, view := range []arrow.RecordBatch{rec, rec.NewSlice(int64(rows/3), int64(rows))} {
					payload, err := ipc.GetRecordBatchPayload(view, opts...)
					if err != nil {
						t.Fatal(err)
					}
					meta := payload.Meta()
					var body capture
					if err := payload.SerializeBody(&body); err != nil {
						t.Fatal(err)
					}
					want := &flight.FlightData{DataHeader: append([]byte(nil), meta.Bytes()...), DataBody: body}
					meta.Release()
					m, err := NewMessage(&payload, view)
					if err != nil {
						t.Fatal(err)
					}
					got := new(flight.FlightData)
					if err := proto.Unmarshal(marshal(t, m), got); err != nil {
						t.Fatal(err)
					}
					if !proto.Equal(got, want) {
						t.Errorf("header %d bytes and body %d bytes differ from %d and %d", len(got.DataHeader), len(got.DataBody), len(want.DataHeader), len(want.DataBody))
					}
					if view != rec {
						view.Release()
					}
				}
			})
		}
	}
}

type capture []byte

func (c *capture) Write(p []byte) (int, error) { *c = append(*c, p...); return len(p), nil }

func TestAMessageIsReleasedOnceWhetherItIsSentOrNot(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	for _, sent := range []bool{false, true} {
		rec := batch(alloc, 1, 1000)
		payload, err := ipc.GetRecordBatchPayload(rec)
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewMessage(&payload, rec)
		rec.Release()
		if err != nil {
			t.Fatal(err)
		}
		if sent {
			marshal(t, m)
		}
		m.Release()
		m.Release()
		if _, err := NewCodec().Marshal(m); err == nil {
			t.Error("a message was marshalled after it was gone")
		}
	}
}

func TestOtherMessagesGoThroughTheStockCodec(t *testing.T) {
	want := &flight.Ticket{Ticket: []byte("abc")}
	bufs, err := NewCodec().Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := new(flight.Ticket)
	if err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(bufs.Materialize())}, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	bufs.Free()
}

// poison overwrites what is freed and hands it out again: the worst that a pool
// may do to somebody who reads released memory.
type poison struct {
	mu   sync.Mutex
	free map[int][][]byte
	live atomic.Int64
}

func (p *poison) Allocate(n int) []byte {
	p.live.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if list := p.free[n]; len(list) > 0 {
		p.free[n] = list[:len(list)-1]
		b := list[len(list)-1]
		clear(b)
		return b
	}
	return make([]byte, n)
}

func (p *poison) Reallocate(n int, b []byte) []byte {
	out := p.Allocate(n)
	copy(out, b)
	p.Free(b)
	return out
}

func (p *poison) Free(b []byte) {
	if cap(b) == 0 {
		return
	}
	for i := range b {
		b[i] = 0xDB
	}
	p.live.Add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free[len(b)] = append(p.free[len(b)], b)
}

const testBatches, testRows = 12, 2000

// server sends testBatches batches from pooled memory and releases each as soon
// as SendMsg is back.
type server struct {
	flight.BaseFlightServer
	alloc *poison
}

func (s *server) DoGet(_ *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	send := func(payload ipc.Payload, rec arrow.RecordBatch) error {
		m, err := NewMessage(&payload, rec)
		if err != nil {
			return err
		}
		defer m.Release()
		return stream.SendMsg(m)
	}
	if err := send(ipc.GetSchemaPayload(testSchema, memory.DefaultAllocator), nil); err != nil {
		return err
	}
	for i := range testBatches {
		rec := batch(s.alloc, i, testRows)
		payload, err := ipc.GetRecordBatchPayload(rec)
		if err == nil {
			err = send(payload, rec)
		}
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func TestReleasedBuffersMayBeOverwrittenUnderSlowFastAndCancellingReaders(t *testing.T) {
	alloc := &poison{free: map[int][][]byte{}}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(NewCodec()), experimental.BufferPool(new(Pool)), grpc.WriteBufferSize(128<<10))
	flight.RegisterFlightServiceServer(srv, &server{alloc: alloc})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()

	// The truth, from memory that nobody reuses.
	want := make([]arrow.RecordBatch, testBatches)
	for i := range want {
		want[i] = batch(memory.DefaultAllocator, i, testRows)
	}
	var readers sync.WaitGroup
	for i := range 6 {
		readers.Go(func() {
			if err := read(lis.Addr().String(), want, i%3); err != nil {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	readers.Wait()
	srv.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := alloc.live.Load(); n != 0 {
		t.Logf("%d buffers were left to the garbage collector", n)
	}
}

// read takes a stream in one of three manners: 0 at once, 1 with pauses, 2 up to
// a cancel in the middle. Batches are kept while later ones arrive.
func read(addr string, want []arrow.RecordBatch, manner int) error {
	client, err := flight.NewClientWithMiddleware(addr, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.DoGet(ctx, &flight.Ticket{})
	if err != nil {
		return err
	}
	r, err := flight.NewRecordReader(stream)
	if err != nil {
		return err
	}
	defer r.Release()
	got := 0
	for ; ; got++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if manner == 1 {
			time.Sleep(2 * time.Millisecond)
		}
		if !array.RecordEqual(rec, want[got]) {
			return fmt.Errorf("batch %d differs", got)
		}
		if manner == 2 && got == testBatches/2 {
			return nil
		}
	}
	if got != testBatches {
		return fmt.Errorf("%d batches", got)
	}
	return nil
}

func TestThePoolKeepsPowersOfTwoAndLeavesOthersAlone(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 255, 256, 257, 16 << 10, 1<<20 + 1, 16 << 20, 16<<20 + 1} {
		b := p.Get(n)
		if len(*b) != n {
			t.Errorf("asked for %d bytes, got %d", n, len(*b))
		}
		p.Put(b)
	}
	odd := make([]byte, 300)
	p.Put(&odd)
	none := []byte(nil)
	p.Put(&none)
	if b := p.Get(300); cap(*b) != 512 {
		t.Errorf("a buffer of capacity %d serves 300 bytes", cap(*b))
	}
}

// BenchmarkMarshal is one batch from Arrow to what gRPC takes, against the stock
// path: body buffer, then protobuf. Both make the same message.
func BenchmarkMarshal(b *testing.B) {
	const rows = 20_000
	rec := batch(memory.DefaultAllocator, 1, rows)
	defer rec.Release()
	codec := NewCodec()
	var body capture
	stock := func() (mem.BufferSlice, error) {
		payload, err := ipc.GetRecordBatchPayload(rec)
		if err != nil {
			return nil, err
		}
		defer payload.Release()
		body = body[:0]
		if err := payload.SerializeBody(&body); err != nil {
			return nil, err
		}
		meta := payload.Meta()
		defer meta.Release()
		return codec.Marshal(&flight.FlightData{DataHeader: meta.Bytes(), DataBody: body})
	}
	frame := func() (mem.BufferSlice, error) {
		payload, err := ipc.GetRecordBatchPayload(rec)
		if err != nil {
			return nil, err
		}
		m, err := NewMessage(&payload, rec)
		if err != nil {
			return nil, err
		}
		return codec.Marshal(m)
	}
	want := flightData(b, stock)
	for name, marshal := range map[string]func() (mem.BufferSlice, error){"frame": frame, "stock": stock} {
		b.Run(fmt.Sprintf("path=%s/rows=%d", name, rows), func(b *testing.B) {
			if got := flightData(b, marshal); !proto.Equal(got, want) {
				b.Fatalf("a header of %d bytes and a body of %d differ from %d and %d", len(got.DataHeader), len(got.DataBody), len(want.DataHeader), len(want.DataBody))
			}
			size := proto.Size(want)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				bufs, err := marshal()
				if err != nil {
					b.Fatal(err)
				}
				if bufs.Len() != size {
					b.Fatalf("%d bytes, want %d", bufs.Len(), size)
				}
				bufs.Free()
			}
		})
	}
}

// flightData is what a receiver reads.
func flightData(b *testing.B, marshal func() (mem.BufferSlice, error)) *flight.FlightData {
	b.Helper()
	bufs, err := marshal()
	if err != nil {
		b.Fatal(err)
	}
	defer bufs.Free()
	out := new(flight.FlightData)
	if err := proto.Unmarshal(bufs.Materialize(), out); err != nil {
		b.Fatal(err)
	}
	return out
}
