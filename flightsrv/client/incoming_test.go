package client_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
)

var lettersSchema = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String}}, nil)

const letterBatches, letterRows = 24, 500

// letter is the text of a row: no two are alike, all are as long.
func letter(id int64) string { return fmt.Sprintf("letter %06d to whom it may concern", id) }

// letters is a Flight server whose stream is letterBatches batches.
type letters struct{ flight.BaseFlightServer }

func (l *letters) DoGet(_ *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	w := flight.NewRecordWriter(stream, ipc.WithSchema(lettersSchema))
	for k := range letterBatches {
		b := array.NewRecordBuilder(memory.DefaultAllocator, lettersSchema)
		for i := range letterRows {
			id := int64(k*letterRows + i)
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.StringBuilder).Append(letter(id))
		}
		rec := b.NewRecordBatch()
		b.Release()
		err := w.Write(rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return w.Close()
}

// changing is the stock codec, with a hand on what goes out.
type changing struct {
	encoding.CodecV2
	change func(message int, raw []byte) mem.BufferSlice
	sent   atomic.Int64
}

func (c *changing) Marshal(v any) (mem.BufferSlice, error) {
	bufs, err := c.CodecV2.Marshal(v)
	if err != nil {
		return nil, err
	}
	defer bufs.Free()
	return c.change(int(c.sent.Add(1))-1, bufs.Materialize()), nil
}

// scanLetters reads the stream of a server that sends what change makes of it.
func scanLetters(t *testing.T, change func(message int, raw []byte) mem.BufferSlice, each func(arrow.RecordBatch)) error {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(&changing{CodecV2: encoding.GetCodecV2(proto.Name), change: change}))
	flight.RegisterFlightServiceServer(srv, &letters{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	defer func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial(t.Context(), "grpc://"+lis.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for rec, err := range c.ScanPlan(t.Context(), &client.Plan{Schema: lettersSchema, Partitions: []client.Partition{{Ticket: []byte("letters")}}}, client.ScanOptions{}) {
		if err != nil {
			return err
		}
		each(rec)
	}
	return nil
}

func asItIs(_ int, raw []byte) mem.BufferSlice { return mem.BufferSlice{mem.SliceBuffer(raw)} }

func TestBatchesAndStringsThatAreKeptStayWhatTheyWereWhileOthersArrive(t *testing.T) {
	var kept []arrow.RecordBatch
	var texts []string // of batches that were let go
	err := scanLetters(t, asItIs, func(rec arrow.RecordBatch) {
		if len(kept)%2 == 0 {
			rec.Retain()
			kept = append(kept, rec)
			return
		}
		kept = append(kept, nil)
		for i := range int(rec.NumRows()) {
			texts = append(texts, rec.Column(1).(*array.String).Value(i))
		}
	})
	if err != nil || len(kept) != letterBatches || len(texts) != letterBatches/2*letterRows {
		t.Fatalf("%d batches, %d texts, %v", len(kept), len(texts), err)
	}
	for k, rec := range kept {
		for i := range letterRows {
			id := int64(k*letterRows + i)
			if rec == nil {
				if got := texts[k/2*letterRows+i]; got != letter(id) {
					t.Fatalf("the text of row %d has become %q", id, got)
				}
			} else if rec.Column(0).(*array.Int64).Value(i) != id || rec.Column(1).(*array.String).Value(i) != letter(id) {
				t.Fatalf("row %d has become %d, %q", id, rec.Column(0).(*array.Int64).Value(i), rec.Column(1).(*array.String).Value(i))
			}
		}
		if rec != nil {
			rec.Release()
		}
	}
}

// TestADamagedMessageFailsTheScan: message 0 is the schema; of message n, batch n-1, nothing is handed out.
func TestADamagedMessageFailsTheScan(t *testing.T) {
	body := func(raw []byte) int { // where the field of the body begins: its number is 1000
		return bytes.LastIndex(raw[:min(len(raw), 1000)], []byte{0xC2, 0x3E})
	}
	for _, c := range []struct {
		name    string
		message int
		kind    source.Kind
		do      func(raw []byte) mem.BufferSlice
	}{
		{"cut off in the body", 5, source.KindInternal, func(raw []byte) mem.BufferSlice { return asItIs(0, raw[:len(raw)-1]) }},
		{"cut off in the header", 5, source.KindInternal, func(raw []byte) mem.BufferSlice { return asItIs(0, raw[:20]) }},
		{"cut off in a field's number", 5, source.KindInternal, func(raw []byte) mem.BufferSlice { return asItIs(0, raw[:body(raw)+1]) }},
		{"without its body", 5, source.KindInternal, func(raw []byte) mem.BufferSlice { return asItIs(0, raw[:body(raw)]) }},
		{"a body that claims terabytes", 5, source.KindInternal, func(raw []byte) mem.BufferSlice {
			return asItIs(0, append(raw[:body(raw)+2:body(raw)+2], 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x3F))
		}},
		{"no message at all", 5, source.KindInternal, func([]byte) mem.BufferSlice { return asItIs(0, bytes.Repeat([]byte{0xFF}, 100)) }},
		{"a schema of noise", 0, source.KindInternal, func(raw []byte) mem.BufferSlice {
			for i := 8; i < len(raw); i++ {
				raw[i] ^= 0x55
			}
			return asItIs(0, raw)
		}},
		{"larger than anybody takes", 5, source.KindLimit, func([]byte) mem.BufferSlice {
			piece := mem.SliceBuffer(make([]byte, 1<<20))
			var out mem.BufferSlice
			for range 257 { // the same memory over and over
				out = append(out, piece)
			}
			return out
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			batches := 0
			err := scanLetters(t, func(message int, raw []byte) mem.BufferSlice {
				if message == c.message {
					return c.do(raw)
				}
				return asItIs(message, raw)
			}, func(rec arrow.RecordBatch) {
				if id := rec.Column(0).(*array.Int64).Value(0); id != int64(batches*letterRows) || rec.Column(1).(*array.String).Value(letterRows-1) != letter(id+letterRows-1) {
					t.Errorf("batch %d begins with row %d", batches, id)
				}
				batches++
			})
			if source.KindOf(err) != c.kind || batches > max(0, c.message-1) {
				t.Errorf("%d batches, then %v", batches, err)
			}
			if err != nil && (strings.Contains(err.Error(), "panic") || (c.message == 0) != strings.Contains(err.Error(), "the stream's schema")) {
				t.Errorf("it is not said where the damage is: %v", err)
			}
		})
	}
}
