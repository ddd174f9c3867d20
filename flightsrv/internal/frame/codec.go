package frame

import (
	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/hubflight/hubflight/source"
)

// Codec is gRPC's protobuf codec, except that a *Message is on the wire what it
// already is, and that an *Inbound keeps the memory of bodies. Install it with
// grpc.ForceServerCodecV2.
type Codec struct{ stock encoding.CodecV2 }

var _ encoding.CodecV2 = Codec{}

// NewCodec wraps the stock protobuf codec.
func NewCodec() Codec { return Codec{encoding.GetCodecV2(proto.Name)} }

// Marshal hands a *Message over to gRPC, which frees it; anything else is
// marshalled as ever.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*Message); ok {
		return m.take()
	}
	return c.stock.Marshal(v)
}

// maxDescriptor is far more than a command or a path may have. Of all requests only a
// descriptor is a list: 64 MiB of empty parts, two bytes each, become gigabytes, and
// that before it is known who calls.
const maxDescriptor = 4 << 20

// Unmarshal receives an *Inbound; anything else is unmarshalled as ever, if it is no
// descriptor without bounds.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *Inbound:
		return v.unmarshal(data, c.stock)
	case *flight.FlightDescriptor:
		if err := bounded(uint64(data.Len())); err != nil { //nolint:gosec // not negative
			return err
		}
	}
	return c.stock.Unmarshal(data, v)
}

func bounded(n uint64) error {
	if n > maxDescriptor {
		return source.Errorf(source.KindLimit, "descriptor", "it has %d bytes; at most %d are accepted", n, maxDescriptor)
	}
	return nil
}

// Name is that of the stock codec: on the wire there is no difference.
func (c Codec) Name() string { return proto.Name }
