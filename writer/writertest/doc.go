// Package writertest runs whole write jobs against the embedded Hub and local
// folders, and checks what every job promises:
//
//	every row of a successful job exactly once, nothing of a failed one;
//	what was there before is untouched;
//	what a result says (head, paths, rows, already, resolves) is so.
//
// rig_test.go is the bench: a Hub, a Writer, rows with identities. The other
// files are scenarios, one behaviour each.
//
// # Regressions
//
// Every bug that was found here gets a line: what happened, since when, found by
// which test or seed.
//
//	fixed-size lists of a sliced batch repeated the slice before them, and null
//	ones were refused: since the first encoder, found by review and
//	TestBatchesAreWrittenRightInSlices; fixed in physical.go
package writertest
