// Package rangeio stands between a Parquet reader and a source.Reader, and makes
// fewer and better requests of the many small ones that a Parquet reader makes.
//
// At present it remembers the tail of the file that was read for the footer, so
// that the footer is not fetched twice, and counts what goes through. Merging of
// neighbouring ranges, reading ahead and caches on disk belong here.
//
// Invariants: memory is bounded by Options; what is served from memory is what
// the Reader below gave; a failed read leaves nothing behind. It starts no
// goroutine.
package rangeio
