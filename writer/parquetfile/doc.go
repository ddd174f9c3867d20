// Package parquetfile writes Arrow batches as a Parquet file: pages, dictionaries, statistics and page indexes straight from Arrow's buffers.
//
// The flow of a batch: tree (which entries of a leaf there are, and their repetition and definition levels; siblings share the work) →
// chunk (which rows make a page) → values (dictionary or PLAIN, least and greatest) → hybrid and compress → slabs, where the pages of a
// column wait for the end of their row group. Footer, page index and bloom filters are those of the Arrow library's metadata package.
//
// Invariants:
//   - The bytes of a file depend on the rows, the schema, the properties and where groups end, and on nothing else: not on how the rows
//     came in batches, not on their offsets or what lies behind nulls.
//   - A page begins with a row. Only PLAIN, RLE and RLE_DICTIONARY in pages of version 1 are written: what every reader has.
//   - Statistics are true or absent: NaN is left out, a zero counts as both zeros, values above 4096 bytes are not written, and with
//     them goes the chunk's column index.
//   - What is held is the compressed pages of the open group, one open page and one dictionary (of DictionaryPageSizeLimit) per column. With
//     SpillTo no more than a bound of these pages is in memory; the others wait in scratch. That changes no byte of the file.
//
// The memory of waiting pages is none of the collector's (slabs), so every File ends with Close or Release. CloseKeeping hands that of the last
// group on to the writer, which then need not copy it. With TakeFrom files leave theirs to one another.
//
// A File is used by one goroutine and keeps nothing of a batch after Write. It does not cut groups or files: its caller does.
//
// It does not write INT96, DELTA or byte stream split encodings, pages of version 2, encryption or views, dictionaries and extension
// arrays, which the caller has turned into plain ones.
package parquetfile
