// Package client reads and writes datasets through a hubflight server, for Go
// services.
//
//	c, err := client.Dial(ctx, "grpc://127.0.0.1:8815", client.Options{})
//	d := c.Dataset(client.Read{Dataset: "ns/name", Columns: client.Columns("id", "text")})
//	for batch, err := range d.Scan(ctx, client.ScanOptions{Ordered: true}) { … }
//
// A Scan reads several partitions at once, in bounded memory, and resumes a
// stream that broke, or that the server ended because its rows were not taken for
// long, at the row it had reached. Errors are *source.Error with the
// server's kind; only what the caller's own batches and callbacks return comes back
// as it is. The package does not cache and does not retry what must not be repeated:
// a write is retried by giving the same job again.
//
// # Memory
//
// Every batch has memory of its own, which the garbage collector frees: what is kept
// of it, be it one string, stays what it was. Bodies come through gRPC's stock codec.
// A codec of our own that copies them once, not twice, into such memory was measured
// over loopback with batches of 1.8 MB: both ends together took 0.96 of the CPU (the
// median of 7 interleaved runs of 0.8 to 1.1, which is noise) and allocated as many
// bytes. Only memory that later batches use again would save something, and a kept
// string would not survive that.
//
// # Connections
//
// All streams of a Client share one connection. With one for each, 2 and 4 streams of
// 600 MB over a unix socket took 0.98 and 1.00 of the CPU of both ends (medians of 10
// interleaved runs). That is unlike Python, where the one reader of a connection is
// the bottleneck.
package client
