// Package source holds the nouns and contracts of reading: what a dataset is
// called (Ref), what it is pinned to (Snapshot), what it consists of (File),
// how its bytes are read (Store, Reader) and how anything fails (Error).
//
// It is a leaf. Its children implement and use it:
//
//	hub, localfs   are Stores
//	rangeio        turns a Reader into planned, cached range reads
//	filter         decides which rows are wanted
//	scan           turns one Parquet file into record batches
//	dataset        turns a Ref into configs, splits, files and a Plan
//	sourcetest     is the conformance suite every Store passes
//
// The package does no I/O and knows neither HTTP nor gRPC nor Parquet.
package source
