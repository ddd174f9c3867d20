// Package sourcetest is the conformance suite that every source.Store passes. A
// Store's tests call Run with a way to make stores; what a Store cannot do it
// says in Abilities, and everything else is required.
//
// The suite holds what callers rely on: pinned snapshots, listings in byte order,
// reads that are whole or fail, KindChanged when bytes moved, and errors that are
// a *source.Error of the right kind. How a Store behaves towards a faulty origin
// is the Store's own test.
package sourcetest
