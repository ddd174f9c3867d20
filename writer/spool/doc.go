// Package spool is the scratch space of the writer: files that exist from the
// first encoded byte until the sink has made them durable. What is ready before its
// place in the file can be written (a column's pages, while the columns before it
// are not complete) is kept beside the file by Append. What is in memory at the end, and
// may stay there until the file is sent, is appended as it is by Keep.
//
// Every process has a folder of its own below the configured one, locked while
// it lives; Open removes the folders of the dead. Nothing in a spool is worth
// keeping: an attempt whose spool is lost is repeated.
//
// The bytes of all files together are bounded. A file that would exceed the bound
// waits until another one is removed; if every file is waiting, nobody can finish,
// and the last one is refused as busy instead. A file that alone exceeds the bound
// is refused for good.
package spool
