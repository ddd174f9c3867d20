package scan

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// storageData strips extension types, so that everything after decoding sees
// plain layouts. It takes over d's reference.
func storageData(d arrow.ArrayData) arrow.ArrayData {
	t := storage(d.DataType())
	if t == d.DataType() {
		return d
	}
	defer d.Release()
	return array.NewData(t, d.Len(), d.Buffers(), d.Children(), d.NullN(), d.Offset())
}

// checkData makes sure that an array that was decoded from foreign bytes is what
// its type says: buffers long enough, offsets rising and inside their data,
// children as long as their parents need. The library builds nested arrays from
// levels that a file may contradict, and what reads arrays later does not check.
func checkData(d arrow.ArrayData, path string) error {
	n := d.Offset() + d.Len()
	bufs := d.Buffers()
	if d.Len() < 0 || d.Offset() < 0 {
		return fmt.Errorf("%s: negative length", path)
	}
	if d.DataType().ID() == arrow.NULL {
		return nil
	}
	if len(bufs) == 0 {
		return fmt.Errorf("%s: no buffers", path)
	}
	if b := bufs[0]; b != nil && b.Len() > 0 && int64(b.Len()) < bitutil.BytesForBits(int64(n)) {
		return fmt.Errorf("%s: validity of %d bytes for %d values", path, b.Len(), n)
	} else if (b == nil || b.Len() == 0) && d.NullN() > 0 {
		return fmt.Errorf("%s: %d nulls without a validity bitmap", path, d.NullN())
	}
	need := func(i, bytes int) error {
		if have := bufferLen(bufs, i); have < bytes {
			return fmt.Errorf("%s: %d bytes for %d values", path, have, n)
		}
		return nil
	}
	switch t := storage(d.DataType()).(type) {
	case *arrow.StructType:
		return checkStruct(d, t, path)
	case *arrow.FixedSizeListType:
		return checkChild(d, int64(n)*int64(t.Len()), path)
	case *arrow.LargeListType:
		return checkOffsets[int64](d, path)
	case arrow.ListLikeType: // list and map
		return checkOffsets[int32](d, path)
	case *arrow.StringType, *arrow.BinaryType:
		return checkOffsets[int32](d, path)
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		return checkOffsets[int64](d, path)
	case *arrow.BooleanType:
		return need(1, int(bitutil.BytesForBits(int64(n))))
	case arrow.FixedWidthDataType:
		return need(1, n*t.BitWidth()/8)
	}
	return fmt.Errorf("%s: type %s is not expected", path, d.DataType())
}

func bufferLen(bufs []*memory.Buffer, i int) int {
	if i >= len(bufs) || bufs[i] == nil {
		return 0
	}
	return bufs[i].Len()
}

func checkStruct(d arrow.ArrayData, t *arrow.StructType, path string) error {
	if len(d.Children()) != t.NumFields() {
		return fmt.Errorf("%s: %d children for %d fields", path, len(d.Children()), t.NumFields())
	}
	for i, c := range d.Children() {
		where := path + "." + t.Field(i).Name
		if c.Len() < d.Offset()+d.Len() {
			return fmt.Errorf("%s: %d values in a struct of %d", where, c.Len(), d.Offset()+d.Len())
		}
		if err := checkData(c, where); err != nil {
			return err
		}
	}
	return nil
}

func checkChild(d arrow.ArrayData, need int64, path string) error {
	if len(d.Children()) != 1 || int64(d.Children()[0].Len()) < need {
		return fmt.Errorf("%s: the elements are fewer than the lists need", path)
	}
	return checkData(d.Children()[0], path+".element")
}

// checkOffsets checks a variable-size layout: byte data in the third buffer, or
// elements in the child.
func checkOffsets[T int32 | int64](d arrow.ArrayData, path string) error {
	bufs := d.Buffers()
	n := d.Offset() + d.Len()
	offsets := offsetsOf[T](d)
	if n > 0 && len(offsets) < n+1 {
		return fmt.Errorf("%s: %d offsets for %d values", path, len(offsets), n)
	}
	last := T(0)
	if n > 0 {
		last = offsets[d.Offset()]
		for _, o := range offsets[d.Offset() : n+1] {
			if o < last {
				return fmt.Errorf("%s: falling offsets", path)
			}
			last = o
		}
		if offsets[d.Offset()] < 0 {
			return fmt.Errorf("%s: negative offset", path)
		}
	}
	if _, nested := d.DataType().(arrow.NestedType); nested {
		return checkChild(d, int64(last), path)
	}
	if int64(bufferLen(bufs, 2)) < int64(last) {
		return fmt.Errorf("%s: offsets outside the data", path)
	}
	return nil
}

// offsetsOf is the whole offsets buffer, empty if there is none.
func offsetsOf[T int32 | int64](d arrow.ArrayData) []T {
	if bufferLen(d.Buffers(), 1) == 0 {
		return nil
	}
	return arrow.GetData[T](d.Buffers()[1].Bytes())
}
