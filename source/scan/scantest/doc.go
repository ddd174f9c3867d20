// Package scantest holds what the tests of source/scan judge by.
//
//	value.go     one cell of an Arrow array as an exact value
//	literal.go   one literal of the wire as an exact value
//	evaluate.go  the rows that a filter keeps, decided row by row by the tables
//	             of the wire contract, with rationals and three truth values
//	same.go      equality of cells to the bit, and the shape that a projection
//	             has to have
//	oracle.go    the process with the real pyarrow (and Spark, DuckDB, Polars)
//	oracle/      its Python: seeded files, queries, answers
//	poison.go    memory that is overwritten as soon as it is released
//
// Nothing here is shared with the packages under test: it uses neither the
// filter package nor the scanner, is written for being read next to the contract
// and is slow. What both agree on is right, or wrong twice in the same way.
//
// The package is for tests only; no production code imports it.
package scantest
