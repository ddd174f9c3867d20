// Package column decodes the column chunks of one row group straight from page bytes into Arrow buffers.
//
// It knows Parquet's pages and Arrow's arrays, and nothing of files, networks, schemas' names or filters: a Source gives the bytes of a
// chunk, a Field says which Arrow tree the chunks make, and Read appends any number of row spans to one array.
//
// The flow of a Read, per leaf: cursor (page headers, skipping, dictionary) → inflate → levels (validity bits of flat columns, level
// blocks of nested ones) → values (one decoder per encoding, always dense) → sink (Arrow buffers; nulls are spread at the end) → tree
// (list offsets and struct validity, which the first leaf below a node builds).
//
// Invariants:
//   - Everything is lazy. A page is inflated when the first value is taken from it; rows that are skipped over whole pages cost a page
//     header, or nothing where the offset index is known. Within a page rows that are left out between many short spans may be decoded
//     and dropped (thin.go), because that is cheaper.
//   - The bytes are untrusted. Every size and count is checked against the chunk, the page and the caps before anything is allocated by
//     it; values that contradict the levels, dictionary indices outside the dictionary and offsets beyond 2 GiB are errors. No panic
//     leaves the package.
//   - The allocator's memory may be dirty: every byte of a result is written, null slots and the padding of bitmaps are zero.
//   - Arrays have the layout that pqarrow gives to the same field, offset 0, and belong to the caller.
//
// It does not read INT96 in other units than nano- and microseconds, LZO, the deprecated LZ4 framing, encrypted chunks or dictionaries
// as Arrow dictionaries: Supported says so in advance where the schema tells, an Error of kind Unsupported where only the page tells.
package column
