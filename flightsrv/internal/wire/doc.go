// Package wire holds the JSON bodies that server and clients exchange, key for
// key as wire.md says, so that the service and the Go client cannot drift apart.
//
// It has no behaviour beyond Validate: decoding is strictjson's, meaning is
// flightsrv's. Tickets are not here, because they are opaque to clients; the
// bodies of a write job are the writer's own.
package wire
