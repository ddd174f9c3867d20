// Package scan turns one Parquet file into record batches.
//
// The flow, file by file:
//
//	ReadFooter   bytes of the tail → guard → metadata, native schema   footer.go guard.go hints.go native.go
//	Query.Output schema → the stream's schema (projection, profile)    query.go project.go profile.go
//	Query.Prune  footer statistics → row groups worth reading          prune.go stats.go
//	Open         a Task → Stream, its layout and its workers           stream.go layout.go
//	  lanes      row groups of several workers, brought into order     lanes.go
//	  prospect   what of a row group may match; its pages              prospect.go layers.go index.go bloom.go
//	  portion    a row group → pieces, in the stream's types           portion.go
//	  filtered   the filter's columns first, others for kept rows      filtered.go gather.go
//	  rowGroup   one cursor per unit: package column, or pqarrow       rowgroup.go field.go; library.go check.go pages.go
//	  chunks     windows that slide over column chunks                 chunks.go announce.go
//	  convert    file types → stream types; missing → null             convert.go cast.go
//	  shaper     batches of the asked size                             shape.go
//
// Invariants:
//
//   - What comes out is what the stream's schema says, in file order, and the
//     same on every replay; Skip and Limit count rows exactly. Batches do not
//     depend on how many workers there are, nor on how fast the consumer is: what
//     a portion gives depends on its progress alone.
//   - Pruning leaves out only what provably cannot match.
//   - A file is untrusted bytes. Everything in it that sizes an allocation is
//     compared with something known first, decoding runs on a goroutine of ours
//     under recover, and what it allocates is bounded. A file that is not what it
//     says gives KindCorrupt, one that needs more than this package has gives
//     KindUnsupported; both name the file.
//   - What is held does not grow with the row group: windows and pages per column,
//     and a few batches (Stream.Holds); row groups are decoded ahead only in
//     memory and slots that nobody else wants, and forgotten when the consumer
//     stalls.
//   - Workers belong to the Stream, whose Close ends them and waits. Only lanes
//     have a lock; everything else belongs to one worker or to the consumer.
//   - Every batch has one owner. Buffers go back to the pool when it is released.
//
// What it does not do: it knows no datasets, no splits and no tickets; it does
// not retry, cache or coalesce reads beyond one row group (rangeio does), and it
// never uses the library's row seek, which is wrong for repeated columns.
package scan
