// Package snappy inflates Snappy blocks, which is what most Parquet pages are
// and where most of the time of reading text goes.
//
// A block is a list of elements, each a literal or a copy of earlier output, six
// or seven bytes long in text and in no order that a branch predictor could
// learn. Decoders that branch on the kind of every element spend their time on
// wrong guesses. This one computes what both kinds would need and selects the
// source by arithmetic, so that a common element costs the same few instructions
// whatever it is; the idea is that of the reference implementation since its
// version 1.1.9. BenchmarkDecode has the library for comparison.
//
// Invariants: what is written lies in dst, what is read in src or in what has
// been written; every length and offset is checked first. The fast loop moves 32
// or 64 bytes at a time and therefore stays that far away from the ends of both;
// the rest is decoded element by element.
//
// What it does not do: compress, or read the framed stream format, which Parquet
// does not use.
package snappy
