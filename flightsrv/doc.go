// Package flightsrv is the Arrow Flight service: it decodes and validates what
// clients send, calls the planner and the writer, and encodes their answers. It
// is the only package that knows gRPC, and wire.md is its specification.
//
// # The flow
//
// Every RPC passes one interceptor (interceptor.go): request id, recover, who
// calls (auth.go), one log line at the end, and the only translation of errors
// into gRPC statuses (status.go). Then one file per RPC:
//
//	getinfo.go      command.go  →  dataset.Planner.Plan  →  endpoints (ticket.go)
//	getschema.go    command.go  →  dataset.Planner.Schema
//	doget.go        ticket.go   →  dataset.Planner.Read  →  record batches
//	doput.go        ipcguard    →  writer.Writer.Stage   →  staged records
//	doaction.go     one function per action; jobsaction.go and parquetaction.go
//	                hold the longer ones
//	listflights.go  splits of one dataset
//	sharing.go      batches of DoGet and DoPut in memory that a client of this
//	                machine shares, where it asks for it
//
// # Invariants
//
//   - The server keeps no state that a restart loses: tickets and staged records
//     are self-contained.
//   - A stream's schema is FlightInfo.schema, and is sent before the first row
//     is decoded.
//   - An error after batches ends the stream with a status, never with a clean
//     end.
//   - A stream that its client does not drain holds no decode slot (gate.go), and
//     all open scans, those of actions too, hold no more together than their budget
//     (budget.go).
//   - No byte of a DoPut reaches arrow-go before source/ipcguard has walked it,
//     wherever it lies.
//   - Shared memory makes a stream faster and nothing else: each batch may come and
//     go through the connection instead. Only processes of one user share memory,
//     and those can read and change each other anyway.
//   - Nothing here logs or returns a token, a signed URL or a local path that the
//     caller did not name.
//
// What it does not do: resolve names, read Parquet, talk to the Hub.
package flightsrv
