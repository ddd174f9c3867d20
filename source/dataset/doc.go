// Package dataset turns a dataset's name into what a reader of it does: configs,
// splits and files, then a plan of partitions, then record batches.
//
// The flow, and the file of each step:
//
//	Tree (a listing, the README)          tree.go
//	 → Layout: configs → splits → files   resolve.go (card.go, infer.go, glob.go, formats.go, converted.go)
//	 → its own files, or its conversion   selection.go (freshness.go)
//	 → the chosen config and splits       choose.go
//	 → footers, bounded and cached        footers.go
//	 → a digest of each                   digest.go
//	 → Plan: one Partition per file       plan.go, partitions.go
//	 → batches of one Partition           read.go
//
// Resolve is pure: the same Tree and Options give the same Layout, and the
// writer runs it on the tree that a commit is about to make. It follows the
// reference library's rules (which names are splits, in which order files are
// read, what is hidden) and deviates where those read files twice or let a
// README or a script decide the format; each deviation is noted where it is made.
//
// Invariants:
//
//   - A Plan is a function of (snapshot, request): equal commands on equal
//     commits give equal plans on every replica.
//   - A Partition holds everything that reading it needs, so that it can travel
//     in a ticket; it is validated and compared, never trusted.
//   - A cached footer is used only for the token that read it, and only while a
//     listing made with that token names the same content at the same path.
//   - A conversion is read for its dataset only if the viewer says that it is of
//     the commit asked for, and every file is as listed (or on request, unverified).
//   - Pruning leaves out what cannot match and nothing else.
//   - A plan holds digests, not footers; what all calls decode at a time is bounded.
//
// What it does not do: it speaks neither HTTP nor gRPC, decodes no pages (scan
// does), writes nothing, and reads no format but Parquet.
package dataset
