package client

import (
	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/ipcguard"
)

// incoming hands the messages of a DoGet to arrow-go's reader. It looks at the
// schema before arrow-go does: a damaged one can make that allocate without bound,
// which nobody can recover from.
type incoming struct {
	stream flight.DataStreamReader
	begun  bool // the schema has passed
}

// Recv implements flight.DataStreamReader.
func (i *incoming) Recv() (*flight.FlightData, error) {
	data, err := i.stream.Recv()
	if err != nil || i.begun || len(data.GetDataHeader()) == 0 {
		return data, err
	}
	if _, err := ipcguard.SchemaLayout(data.GetDataHeader()); err != nil {
		return nil, source.Errorf(source.KindInternal, "read", "the stream's schema: %w", err)
	}
	i.begun = true
	return data, nil
}
