package frame

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Inbound receives the FlightData messages of one stream, one after the other: pass it to RecvMsg. The stock codec puts the pieces of a
// message together and then copies the body out; here the body is put together where it stays, in memory that the next message uses again.
type Inbound struct {
	// Data is the message. Its DataBody is good until the next RecvMsg; the rest is nobody else's.
	Data *flight.FlightData

	room []byte
}

// roomStep is what room grows by, so that batches of nearly equal size do not make it grow every time.
const roomStep = 256 << 10

// unmarshal takes the body out and leaves the rest to the stock codec, and everything if a field is none that a FlightData has.
func (in *Inbound) unmarshal(data mem.BufferSlice, stock encoding.CodecV2) error {
	in.Data = new(flight.FlightData)
	r := data.Reader()
	defer func() { _ = r.Close() }()
	var rest, body []byte
	for r.Remaining() > 0 {
		tag, err := binary.ReadUvarint(r)
		if err != nil {
			return fmt.Errorf("a message that ends in a field's number: %w", err)
		}
		if tag&7 != uint64(protowire.BytesType) {
			if err := bounded(uint64(data.Len())); err != nil { //nolint:gosec // not negative
				return err
			}
			return stock.Unmarshal(data, in.Data)
		}
		n, err := binary.ReadUvarint(r)
		if err != nil || n > uint64(r.Remaining()) { //nolint:gosec // not negative
			return fmt.Errorf("a field of %d bytes in a message that has %d more", n, r.Remaining())
		}
		if tag>>3 == fieldDescriptor {
			if err := bounded(n); err != nil {
				return err
			}
		}
		if tag>>3 == fieldDataBody {
			body = in.roomFor(int(n)) //nolint:gosec // within the message
			if _, err := io.ReadFull(r, body); err != nil {
				return err
			}
			continue
		}
		rest = protowire.AppendVarint(protowire.AppendVarint(rest, tag), n)
		at := len(rest)
		rest = append(rest, make([]byte, n)...)
		if _, err := io.ReadFull(r, rest[at:]); err != nil {
			return err
		}
	}
	if err := stock.Unmarshal(mem.BufferSlice{mem.SliceBuffer(rest)}, in.Data); err != nil {
		return err
	}
	in.Data.DataBody = body
	return nil
}

func (in *Inbound) roomFor(n int) []byte {
	if n > cap(in.room) {
		in.room = nil // before the new one is there
		in.room = make([]byte, (n+roomStep-1)/roomStep*roomStep)
	}
	return in.room[:n]
}
