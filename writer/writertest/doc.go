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
// everyrequest_test.go makes every request of every shape of job fail; race_test.go has
// two write at a time, and the second begin at any request of the first; states_test.go
// reads what they leave at every commit.
//
// reference_test.go has the datasets library read seeded repositories before and after
// a job.
//
// # Regressions
//
// Every bug of writing gets a line in regressions_test.go: what happened, since when,
// found by what, and the test that would find it again.
package writertest
