// Package half converts floats of 16 bits to numbers and back. The Arrow library takes the
// smallest of them, those below 2^-14, for others: of 2e-5 it makes 4e-39.
//
// It does not round: a number that is no half float is said to be none.
package half
