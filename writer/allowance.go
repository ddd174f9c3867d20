package writer

import "sync/atomic"

// allHeldMore is what the pages of all open row groups may take beyond heldPages for
// each: eight files have all they want, and of a hundred each has heldPages.
const allHeldMore = 256 << 20

// keptRegions is how much of their memory the files of one job leave to those of the next for some seconds: what four tasks have, with groups of text
// that are not full.
const keptRegions = 128 << 20

// allowance is memory that whoever comes first may take and the others do without.
// It is safe for concurrent use; nil is none.
type allowance struct{ free atomic.Int64 }

func newAllowance(n int64) *allowance {
	a := &allowance{}
	a.free.Store(n)
	return a
}

// lease takes n bytes, if there are as many.
func (a *allowance) lease(n int64) bool {
	if a == nil {
		return false
	}
	if a.free.Add(-n) >= 0 {
		return true
	}
	a.free.Add(n)
	return false
}

// giveBack ends a lease.
func (a *allowance) giveBack(n int64) { a.free.Add(n) }
