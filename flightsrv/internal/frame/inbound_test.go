package frame

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hubflight/hubflight/source"
)

// inPieces cuts a message anywhere, as a transport does.
func inPieces(r *rand.Rand, raw []byte) mem.BufferSlice {
	var out mem.BufferSlice
	for len(raw) > 0 {
		n := min(1+r.IntN(40), len(raw))
		out = append(out, mem.SliceBuffer(raw[:n]))
		raw = raw[n:]
	}
	return out
}

func TestAnInboundMessageIsWhatTheStockCodecReads(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	messages := []*flight.FlightData{
		{},
		{FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte(`{"v":1}`)}, DataHeader: []byte("schema")},
		{DataHeader: []byte("batch"), AppMetadata: []byte("more"), DataBody: bytes.Repeat([]byte("body"), 100)},
		{DataBody: []byte{}},
		{DataHeader: []byte("small"), DataBody: []byte("b")},
	}
	var in Inbound
	for i, want := range messages {
		raw, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := NewCodec().Unmarshal(inPieces(r, raw), &in); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(in.Data, want) {
			t.Errorf("message %d: %v instead of %v", i, in.Data, want)
		}
	}
}

// TestWhatIsNoFlightDataIsJudgedAsByTheStockCodec: cut off, changed, with fields of other kinds or twice.
func TestWhatIsNoFlightDataIsJudgedAsByTheStockCodec(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	sound, err := proto.Marshal(&flight.FlightData{
		FlightDescriptor: &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte("cmd")}, DataHeader: []byte("header"), DataBody: []byte("the body")})
	if err != nil {
		t.Fatal(err)
	}
	twice := append(append([]byte{}, sound...), sound...)
	strange := protowire.AppendVarint(protowire.AppendTag(append([]byte{}, sound...), 77, protowire.VarintType), 5)
	fixed := protowire.AppendFixed32(protowire.AppendTag(append([]byte{}, sound...), fieldDataBody, protowire.Fixed32Type), 5)
	cases := [][]byte{twice, strange, fixed, nil}
	for n := range sound {
		cases = append(cases, sound[:n])
	}
	for range 1000 {
		damaged := append([]byte{}, twice...)
		for range 1 + r.IntN(3) {
			damaged[r.IntN(len(damaged))] = byte(r.Uint32()) //nolint:gosec // random
		}
		cases = append(cases, damaged)
	}
	refused := 0
	for _, raw := range cases {
		want := new(flight.FlightData)
		wantErr := NewCodec().Unmarshal(inPieces(r, raw), want)
		var in Inbound
		err := NewCodec().Unmarshal(inPieces(r, raw), &in)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%x: %v, the stock codec says %v", raw, err, wantErr)
		}
		if err != nil {
			refused++
		} else if !proto.Equal(in.Data, want) {
			t.Fatalf("%x: %v, the stock codec reads %v", raw, in.Data, want)
		}
	}
	if refused < len(sound)/2 || refused == len(cases) {
		t.Errorf("%d of %d refused", refused, len(cases))
	}
}

func TestADescriptorIsBoundedWhereverItComesIn(t *testing.T) {
	path := bytes.Repeat([]byte{3<<3 | 2, 0}, maxDescriptor/2) // empty parts
	for name, raw := range map[string][]byte{
		"in a message":              protowire.AppendBytes([]byte{fieldDescriptor<<3 | 2}, append(path, path[:2]...)),
		"after what no message has": append([]byte{9 << 3, 0}, protowire.AppendBytes([]byte{fieldDescriptor<<3 | 2}, path)...),
	} {
		if err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, new(Inbound)); source.KindOf(err) != source.KindLimit {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, into := range []any{new(Inbound), new(flight.FlightDescriptor)} {
		raw := path[:len(path)/4]
		if _, ok := into.(*Inbound); ok {
			raw = protowire.AppendBytes([]byte{fieldDescriptor<<3 | 2}, raw)
		}
		if err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, into); err != nil {
			t.Errorf("%T: %v", into, err)
		}
	}
}

func TestTheBodiesOfAStreamUseTheSameMemory(t *testing.T) {
	var in Inbound
	var first []byte
	for i, size := range []int{300_000, 1000, 299_000, 400_000, 600_000, 1} {
		raw, err := proto.Marshal(&flight.FlightData{DataBody: bytes.Repeat([]byte{byte(i)}, size)})
		if err != nil {
			t.Fatal(err)
		}
		if err := NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, &in); err != nil {
			t.Fatal(err)
		}
		if len(in.Data.DataBody) != size || in.Data.DataBody[size-1] != byte(i) {
			t.Fatalf("message %d has %d bytes", i, len(in.Data.DataBody))
		}
		switch {
		case i == 0:
			first = in.Data.DataBody[:1]
		case i < 4 && &in.Data.DataBody[0] != &first[0]:
			t.Errorf("message %d is elsewhere", i)
		}
	}
}
