// Package client reads and writes datasets through a hubflight server, for Go
// services.
//
//	c, err := client.Dial(ctx, "grpc://127.0.0.1:8815", client.Options{})
//	d := c.Dataset(client.Read{Dataset: "ns/name", Columns: client.Columns("id", "text")})
//	for batch, err := range d.Scan(ctx, client.ScanOptions{Ordered: true}) { … }
//
// A Scan reads several partitions at once, in bounded memory, and resumes a
// broken stream at the row it had reached. Errors are *source.Error with the
// server's kind. The package does not cache and does not retry what must not be
// repeated: a write is retried by giving the same job again.
//
// What is kept of a batch, be it a string of it, stays what it was: every body has
// memory of its own, which the garbage collector frees. Bodies come through gRPC's
// stock codec. One of our own that copies them once, not twice, into such memory
// was measured over loopback with batches of 1.8 MB, CPU of both ends: 0.96 of the
// stock codec's (medians of 7 interleaved runs, each 0.8 to 1.1, so: noise), with
// as many bytes allocated. Only memory that later batches use again would save
// something, and that is what a kept string would not survive. All streams of a
// Client share one connection: with one for each, 2 and 4 streams of 600 MB over a
// unix socket took 0.98 and 1.00 of the CPU of both ends (medians of 10 interleaved
// runs), unlike in Python, where the one reader of a connection is the bottleneck.
package client
