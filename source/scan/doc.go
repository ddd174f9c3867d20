// Package scan turns one Parquet file into record batches.
//
// The flow, file by file:
//
//	ReadFooter   bytes of the tail → guard → metadata, native schema   footer.go guard.go hints.go native.go
//	Query.Output schema → the stream's schema (projection, profile)    query.go project.go profile.go
//	Query.Prune  footer statistics → row groups worth reading          prune.go stats.go
//	Open         a Task → Stream; one goroutine decodes ahead          stream.go
//	  chunks     ranges of a row group's column chunks → memory        chunks.go pages.go
//	  group      pqarrow → arrays, checked                             group.go check.go
//	  convert    file types → stream types; missing → null             convert.go cast.go
//	  gather     rows that the filter keeps                            gather.go
//	  shaper     batches of the asked size                             shape.go
//
// Invariants:
//
//   - What comes out is what the stream's schema says, in file order, and the
//     same on every replay; Skip and Limit count rows exactly.
//   - Pruning leaves out only what provably cannot match.
//   - A file is untrusted bytes. Everything in it that sizes an allocation is
//     compared with something known first, decoding runs on a goroutine of ours
//     under recover, and what it allocates is bounded. A file that is not what it
//     says gives KindCorrupt, one that needs more than this package has gives
//     KindUnsupported; both name the file.
//   - Every batch has one owner. Buffers go back to the pool when it is released.
//
// What it does not do: it knows no datasets, no splits and no tickets; it does
// not retry, cache or coalesce reads beyond one row group (rangeio does); it
// reads neither page indexes nor bloom filters yet, and it never seeks inside a
// row group, because the library's row seek is wrong for repeated columns.
package scan
