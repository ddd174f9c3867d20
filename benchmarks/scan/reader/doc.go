// Command reader is the Go side of `make bench-scan`: a reader of Parquet files
// in a process of its own, so that its CPU seconds and its memory are its own.
//
//	reader hubflight     our scan as the server uses it: localfs, rangeio, source/scan
//	reader library       arrow-go's pqarrow as its documentation shows it; a filter
//	                     is applied to every batch after it is decoded
//	reader remote HUB    our scan from a Hub: source/hub and source/dataset, too;
//	                     four files at a time
//	reader download HUB  the same files fetched whole and thrown away; its rows are
//	                     bytes
//
// Flow: a question per line on standard input (question.go), an answer per line
// on standard output. A question may be repeated within one timing; each repeat
// opens the file anew. With "copy", what was read also goes to that path as an
// Arrow IPC stream, for whoever compares rows; such answers are not timings.
//
// Invariants: batches are released as soon as they are counted; nothing but the
// scan's pool, which a server keeps too, survives from one repeat to the next.
//
// It measures nothing that it does not print, and judges nothing.
package main
