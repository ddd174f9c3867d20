package scan

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// run is n consecutive values from off; off −1 stands for n nulls.
type run struct{ off, n int }

// runsOf turns a filter's answer into runs of kept rows and their number.
func runsOf(keep *array.Boolean) ([]run, int) {
	var runs []run
	total := 0
	for i, n := 0, keep.Len(); i < n; {
		if !keep.Value(i) {
			i++
			continue
		}
		start := i
		for i < n && keep.Value(i) {
			i++
		}
		runs = append(runs, run{start, i - start})
		total += i - start
	}
	return runs, total
}

// gatherer copies runs of values into new arrays. It is this package's own
// filter kernel: arrow's run on goroutines that nobody recovers, and these copy
// runs instead of single values.
type gatherer struct{ mem memory.Allocator }

func (g gatherer) alloc(n int) *memory.Buffer {
	b := memory.NewResizableBuffer(g.mem)
	b.Resize(n)
	return b
}

// take makes an array of the runs of d, total values in all. Fresh memory is
// zero, which is what null slots hold.
func (g gatherer) take(d arrow.ArrayData, runs []run, total int) arrow.ArrayData {
	t := d.DataType()
	if t.ID() == arrow.NULL {
		return array.NewData(t, total, []*memory.Buffer{nil}, nil, total, 0)
	}
	validity, nulls := g.validity(d, runs, total)
	bufs := []*memory.Buffer{validity}
	var children []arrow.ArrayData
	switch t := t.(type) {
	case *arrow.StructType:
		inner := shift(runs, d.Offset())
		for _, c := range d.Children() {
			children = append(children, g.take(c, inner, total))
		}
	case *arrow.FixedSizeListType:
		size := int(t.Len())
		inner := make([]run, len(runs))
		for i, r := range runs {
			inner[i] = run{r.off, r.n * size}
			if r.off >= 0 {
				inner[i].off = (d.Offset() + r.off) * size
			}
		}
		children = append(children, g.take(d.Children()[0], inner, total*size))
	case *arrow.LargeListType:
		offsets, inner, n := takeOffsets[int64](g, d, runs, total)
		bufs = append(bufs, offsets)
		children = append(children, g.take(d.Children()[0], inner, n))
	case arrow.ListLikeType:
		offsets, inner, n := takeOffsets[int32](g, d, runs, total)
		bufs = append(bufs, offsets)
		children = append(children, g.take(d.Children()[0], inner, n))
	case *arrow.StringType, *arrow.BinaryType:
		bufs = append(bufs, takeBytes[int32](g, d, runs, total)...)
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		bufs = append(bufs, takeBytes[int64](g, d, runs, total)...)
	case *arrow.BooleanType:
		bufs = append(bufs, g.bits(d.Buffers()[1], d.Offset(), runs, total))
	case arrow.FixedWidthDataType:
		bufs = append(bufs, g.fixed(d, t.BitWidth()/8, runs, total))
	}
	out := array.NewData(t, total, bufs, children, nulls, 0)
	for _, b := range bufs {
		if b != nil {
			b.Release()
		}
	}
	for _, c := range children {
		c.Release()
	}
	return out
}

func shift(runs []run, by int) []run {
	if by == 0 {
		return runs
	}
	out := make([]run, len(runs))
	for i, r := range runs {
		if out[i] = r; r.off >= 0 {
			out[i].off += by
		}
	}
	return out
}

func (g gatherer) validity(d arrow.ArrayData, runs []run, total int) (*memory.Buffer, int) {
	src := d.Buffers()[0]
	if src != nil && (src.Len() == 0 || d.NullN() == 0) {
		src = nil
	}
	nullRuns := false
	for _, r := range runs {
		nullRuns = nullRuns || r.off < 0 && r.n > 0
	}
	if src == nil && !nullRuns {
		return nil, 0
	}
	out := g.alloc(int(bitutil.BytesForBits(int64(total))))
	at := 0
	for _, r := range runs {
		switch {
		case r.off < 0:
		case src == nil:
			bitutil.SetBitsTo(out.Bytes(), int64(at), int64(r.n), true)
		default:
			copyBits(src.Bytes(), d.Offset()+r.off, out.Bytes(), at, r.n)
		}
		at += r.n
	}
	nulls := total - bitutil.CountSetBits(out.Bytes(), 0, total)
	if nulls == 0 {
		out.Release()
		return nil, 0
	}
	return out, nulls
}

func copyBits(src []byte, from int, dst []byte, to, n int) {
	if n < 8 {
		for i := range n {
			if bitutil.BitIsSet(src, from+i) {
				bitutil.SetBit(dst, to+i)
			}
		}
		return
	}
	bitutil.CopyBitmap(src, from, n, dst, to)
}

func (g gatherer) bits(src *memory.Buffer, offset int, runs []run, total int) *memory.Buffer {
	out := g.alloc(int(bitutil.BytesForBits(int64(total))))
	at := 0
	for _, r := range runs {
		if r.off >= 0 && r.n > 0 {
			copyBits(src.Bytes(), offset+r.off, out.Bytes(), at, r.n)
		}
		at += r.n
	}
	return out
}

func (g gatherer) fixed(d arrow.ArrayData, width int, runs []run, total int) *memory.Buffer {
	out := g.alloc(total * width)
	if total == 0 {
		return out
	}
	var src []byte
	if b := d.Buffers()[1]; b != nil {
		src = b.Bytes()
	}
	dst, at := out.Bytes(), 0
	for _, r := range runs {
		n := r.n * width
		if r.off >= 0 && n > 0 {
			copy(dst[at:at+n], src[(d.Offset()+r.off)*width:])
		}
		at += n
	}
	return out
}

// takeBytes copies byte strings: first the offsets, which tell the size, then
// the bytes of each run at once.
func takeBytes[T int32 | int64](g gatherer, d arrow.ArrayData, runs []run, total int) []*memory.Buffer {
	offsets, inner, n := takeOffsets[T](g, d, runs, total)
	data := g.alloc(n)
	var src []byte
	if b := d.Buffers()[2]; b != nil {
		src = b.Bytes()
	}
	dst, at := data.Bytes(), 0
	for _, r := range inner {
		at += copy(dst[at:], src[r.off:r.off+r.n])
	}
	return []*memory.Buffer{offsets, data}
}

// takeOffsets makes the offsets of the runs, and the runs of what they point to.
func takeOffsets[T int32 | int64](g gatherer, d arrow.ArrayData, runs []run, total int) (*memory.Buffer, []run, int) {
	var zero T
	width := 4
	if _, wide := any(zero).(int64); wide {
		width = 8
	}
	buf := g.alloc((total + 1) * width)
	out := arrow.GetData[T](buf.Bytes())
	src := offsetsOf[T](d)
	inner := make([]run, 0, len(runs))
	at, end := 0, T(0)
	for _, r := range runs {
		if r.off < 0 {
			for range r.n {
				at++
				out[at] = end
			}
			continue
		}
		if r.n == 0 {
			continue
		}
		from := src[d.Offset()+r.off:][:r.n+1]
		delta := end - from[0]
		for i, o := range from[1:] {
			out[at+1+i] = o + delta
		}
		at += r.n
		end = from[r.n] + delta
		if n := int(from[r.n] - from[0]); n > 0 {
			if k := len(inner); k > 0 && inner[k-1].off+inner[k-1].n == int(from[0]) {
				inner[k-1].n += n
			} else {
				inner = append(inner, run{int(from[0]), n})
			}
		}
	}
	return buf, inner, int(end)
}
