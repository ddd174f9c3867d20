// Package filter decides which rows are wanted.
//
// A Filter is an OR of conjunctions of terms, read from the wire's JSON. Its
// life has four steps, one file each:
//
//	parse.go     Parse: bytes → Filter, strict, with the place of every error
//	bind.go      Bind: a Filter meets a schema: names, types and literals are
//	             checked once, and every term becomes a test on stored values,
//	             many equalities of one column a single one
//	stats.go     Bound.MayMatch: can a row group hold a wanted row at all?
//	chances.go   Chances: the same from more than statistics: values that are known
//	             to be absent, all the values there are, statistics of pages
//	eval.go      Bound.Eval: which rows of this record batch are wanted?
//	             (kernel.go holds its loops)
//
// A bound test is always one of: a closed interval of stored values, a set of
// stored values, or the complement of either (number.go, bytes.go). A literal is
// therefore compared exactly with every number type: 0.5 against an int column
// moves the interval's end to an integer, and the column is never converted. (A
// double against a decimal column is the decimal that it was written as.)
//
// Two logics differ in what null and NaN do (Logic). In both, a term about one
// row is in the end true or not true: there is no NOT above terms, so that AND
// and OR of three-valued terms are true exactly when AND and OR of "is true"
// are. Each term knows whether null makes it true (only "is null", and in
// pyarrow's logic "in" with a null in the list and "not in" without one).
//
// Invariants: a Filter and a Bound are immutable and safe for concurrent use;
// MayMatch answers false only if Eval could not keep any row of that group;
// Filters that are written differently but parse to the same terms have the
// same canonical JSON, which is what tickets carry.
//
// The package does not know Parquet: whoever reads statistics must withhold
// those whose order or origin is doubtful (deprecated min/max fields, INT96,
// the wrong column order). It reads no list elements and no map entries.
package filter
