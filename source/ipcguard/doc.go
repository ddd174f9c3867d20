// Package ipcguard stands between Arrow IPC bytes from outside and arrow-go's
// decoder.
//
// arrow-go trusts the FlatBuffers of a message: a damaged vector length makes it
// allocate without bound, which no recover can catch, and a wrong string offset
// makes it panic when the value is read. (Measured: 2 % of random one-to-three
// byte mutations of a valid stream end the process.) So nothing reaches the
// decoder before this package has walked it:
//
//	Schema         an encapsulated schema message, as clients base64 it
//	Layout         what the schema promises: nodes, buffers, widths, in order
//	(Layout).Batch one record batch message against that promise
//
// The walk is bounds-checked, allocates in proportion to the schema only, and
// verifies offsets of strings, lists and maps, so that a batch that passes can
// be read at every row.
//
// What is refused although Arrow allows it: dictionaries, compressed bodies,
// unions, views, run-end encoding, intervals, tensors, big-endian data. Parquet
// has no place for most of them, and clients can decode the rest.
//
// It does not check that strings are UTF-8 or that decimals fit their precision.
package ipcguard
