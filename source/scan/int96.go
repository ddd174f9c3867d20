package scan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
)

const (
	julianEpoch  = 2440588 // the Julian day of 1970-01-01
	microsPerDay = 86_400_000_000
)

// int96Column reads a flat INT96 column as timestamp[µs, UTC]. The library only
// makes nanoseconds of INT96, which end in 2262 and begin in 1677, while Spark,
// whose default these columns are, has the whole range. Nested INT96 columns are
// the library's: values outside nanoseconds are refused there.
type int96Column struct {
	reader   *file.Int96ColumnChunkReader
	nullable bool
	mem      memory.Allocator

	values []parquet.Int96
	levels []int16
}

func newInt96Column(rdr *file.Reader, group, leaf int, mem memory.Allocator) (columnSource, error) {
	col, err := rdr.RowGroup(group).Column(leaf)
	if err != nil {
		return nil, err
	}
	reader, ok := col.(*file.Int96ColumnChunkReader)
	if !ok {
		return nil, errors.Join(errors.New("the column is not INT96"), col.Close())
	}
	return &int96Column{reader: reader, nullable: reader.Descriptor().MaxDefinitionLevel() > 0, mem: mem}, nil
}

func (c *int96Column) release() { _ = c.reader.Close() }

// next reads n rows.
func (c *int96Column) next(n int64) (arrow.ArrayData, error) {
	if int64(len(c.values)) < n {
		c.values, c.levels = make([]parquet.Int96, n), make([]int16, n)
	}
	var levels []int16
	if c.nullable {
		levels = c.levels[:n]
	}
	rows, dense := int64(0), 0
	for rows < n {
		rest := levels
		if c.nullable {
			rest = levels[rows:]
		}
		got, read, err := c.reader.ReadBatch(n-rows, c.values[dense:], rest, nil)
		if err != nil {
			return nil, err
		}
		if got == 0 {
			break
		}
		rows, dense = rows+got, dense+read
	}
	return c.build(int(rows), dense)
}

func (c *int96Column) build(rows, dense int) (arrow.ArrayData, error) {
	data := memory.NewResizableBuffer(c.mem)
	defer data.Release()
	data.Resize(rows * 8)
	out := arrow.GetData[int64](data.Bytes())
	var validity *memory.Buffer
	if c.nullable && dense < rows {
		validity = memory.NewResizableBuffer(c.mem)
		defer validity.Release()
		validity.Resize(int(bitutil.BytesForBits(int64(rows))))
	} else if dense != rows {
		return nil, fmt.Errorf("%d values for %d rows", dense, rows)
	}
	at := 0
	for i := range rows {
		if validity != nil {
			if c.levels[i] == 0 {
				continue
			}
			bitutil.SetBit(validity.Bytes(), i)
		}
		if at >= dense {
			return nil, errors.New("fewer values than levels")
		}
		v, err := int96Micros(c.values[at])
		if err != nil {
			return nil, err
		}
		out[i] = v
		at++
	}
	return array.NewData(arrow.FixedWidthTypes.Timestamp_us, rows, []*memory.Buffer{validity, data}, nil, rows-at, 0), nil
}

// int96Micros is nanoseconds of the day and a Julian day, in microseconds since
// 1970, rounded down.
func int96Micros(v parquet.Int96) (int64, error) {
	nanos := int64(binary.LittleEndian.Uint64(v[:8]))
	days := int64(binary.LittleEndian.Uint32(v[8:])) - julianEpoch
	micros := nanos / 1000
	if nanos%1000 < 0 {
		micros--
	}
	if days > math.MaxInt64/microsPerDay-1 || days < math.MinInt64/microsPerDay+1 {
		return 0, fmt.Errorf("INT96 day %d is outside the range of microseconds", days)
	}
	base := days * microsPerDay
	if micros > 0 && base > math.MaxInt64-micros || micros < 0 && base < math.MinInt64-micros {
		return 0, errors.New("INT96 timestamp is outside the range of microseconds")
	}
	return base + micros, nil
}
