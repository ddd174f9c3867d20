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
package client
