// Package rangeio stands between a Parquet reader and a source.Reader, and makes
// few, large and early requests of the many small ones that a Parquet reader
// makes.
//
// The flow:
//
//   - A Reader wraps one open file. Whoever scans the file announces with Expect,
//     ExpectInOrder or ExpectAll what will be read, in the order of need, at once or
//     piece by piece as it becomes known.
//   - Announced ranges with small gaps between them are joined to one run, and runs
//     are cut into blocks of at most 8 MiB. Which gaps are read along differs between
//     the three (ahead.go).
//   - The blocks are fetched ahead of the reads, several at a time, as far as the
//     budget of the Scheduler allows, which all Readers of a process share. No more
//     bytes are under way than keep the line busy: all requests share it, and with
//     more of them what is needed first would come last.
//   - ReadAt copies from the blocks, also from the beginning of one whose end is still
//     on the way. What nobody announced is fetched when it is asked for.
//   - A read at the end of the file (a footer) is made a little longer than asked, in
//     proportion to the file, and remembered.
//
// A Disk cache, if there is one, is asked before the origin. It is keyed by the
// content's sha256 and by the origin whose word that is, so whoever opens a Reader
// with a cache must say how to confirm that the caller may still read that content:
// Options.Confirm runs before anything cached is served.
//
// Invariants: bytes are those of the Reader below or bytes that it gave earlier
// for the same content, verified by checksum; memory ahead of the reads is
// bounded by the Scheduler, and a read that somebody waits for never waits for
// the budget; a failed read leaves nothing behind, and is tried again when asked
// again; every goroutine belongs to a Reader, whose Close ends it and waits.
//
// What it does not do: retry, resume in the middle of a body, detect stalls,
// renew signed addresses, decide who may read (the Reader below does); read ahead
// in local files, which the operating system does better.
package rangeio
