package frame

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
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

// Unmarshal receives an *Inbound; anything else is unmarshalled as ever.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(*Inbound); ok {
		return in.unmarshal(data, c.stock)
	}
	return c.stock.Unmarshal(data, v)
}

// Name is that of the stock codec: on the wire there is no difference.
func (c Codec) Name() string { return proto.Name }
