// Package frame puts record batches on the wire without copying them, and takes
// them from there with one copy.
//
// The stock path copies every batch twice before gRPC sees it: into one body
// buffer, and into the marshalled FlightData message. A Message is that message
// already marshalled, as a list of slices: the protobuf framing and small Arrow
// buffers in a side buffer, large Arrow buffers as they are. Codec hands it to
// gRPC untouched and leaves every other type to the stock codec, so that the
// bytes on the wire are the same.
//
// Invariants:
//
//   - A Message holds the batch and its payload until gRPC has written the last
//     byte into the socket, which is later than SendMsg returns; then, from
//     whatever goroutine that happens on, both are released once.
//   - gRPC may forget a Message when its connection dies: what depends on the
//     release is memory of the Go heap and nothing else. Budgets are kept by the
//     handler.
//   - A Message is sent once.
//
// An Inbound is the other direction: the bodies of a stream's messages are put
// together in one piece of memory, which each message overwrites. What is
// malformed, or has fields that a FlightData has not, is judged by the stock
// codec.
//
// A FlightDescriptor is the one request that a few bytes on the wire make much larger:
// Codec refuses one above 4 MiB before it is decoded, wherever it comes in.
//
// What it does not do: compress (the IPC writer does), or bound what a stream may
// queue (gRPC's flow control does).
package frame
