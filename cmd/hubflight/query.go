package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
)

// queryFlags choose rows and columns.
type queryFlags struct {
	config, split                      string
	columns, filters, profile, dataDir string
	dataFiles                          []string
	limit                              int64
}

func (q *queryFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&q.config, "config-name", "", "`name` of the dataset's config, the Hub's subset (default: the only or the default one)")
	fs.StringVar(&q.split, "split", "", "`name` of the split, or all (default: train, else the only one)")
	fs.StringVar(&q.columns, "columns", "", "`names` of columns, as a,b or JSON such as "+`["a",["s","x"]]`)
	fs.StringVar(&q.filters, "filters", "", "`JSON` that chooses rows, such as "+`[["label","=",1],["text","!=",""]]`)
	fs.StringVar(&q.profile, "profile", "", "`types` of the columns: native or spark (default: native)")
	fs.StringVar(&q.dataDir, "data-dir", "", "`folder` inside the dataset")
	fs.StringArrayVar(&q.dataFiles, "data-files", nil, "file or `glob` inside the dataset (repeatable)")
	fs.Int64Var(&q.limit, "limit", allRows, "at most this many `rows` (default: all)")
	fs.Lookup("limit").DefValue = "0" // which the help leaves out: the text says it
}

// allRows is the limit of who sets none.
const allRows = -1

func (q *queryFlags) apply(read client.Read) (client.Read, error) {
	if q.columns != "" {
		var columns []source.Column
		if !strings.HasPrefix(strings.TrimSpace(q.columns), "[") {
			columns = *client.Columns(strings.Split(q.columns, ",")...)
		} else if err := json.Unmarshal([]byte(q.columns), &columns); err != nil {
			return read, &usageError{fmt.Errorf("--columns: %w", err)}
		}
		read.Columns = &columns
	}
	if q.filters != "" {
		if !json.Valid([]byte(q.filters)) {
			return read, &usageError{fmt.Errorf(`--filters: %s is not JSON such as [["label","=",1]]`, q.filters)}
		}
		read.Filters = json.RawMessage(q.filters)
	}
	read.Config, read.Split = q.config, q.split
	read.Profile, read.DataDir = q.profile, q.dataDir
	if len(q.dataFiles) > 0 {
		raw, err := json.Marshal(q.dataFiles)
		if err != nil {
			return read, err
		}
		read.DataFiles = raw
	}
	switch {
	case q.limit < allRows:
		return read, &usageError{fmt.Errorf("--limit: %d is negative", q.limit)}
	case q.limit >= 0:
		read.Limit = &q.limit
	}
	return read, nil
}
