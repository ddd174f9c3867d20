package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

// parquetFlags are those of ls that list a conversion.
type parquetFlags struct {
	parquet              bool
	shape, config, split string
	shard                int
}

func (p *parquetFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&p.parquet, "parquet", false, "list the files of the conversion to Parquet, as JSON")
	fs.StringVar(&p.shape, "shape", "viewer", "with --parquet: `whose` JSON, the dataset viewer's (viewer) or the Hub's (hub)")
	fs.StringVar(&p.config, "config-name", "", "with --parquet: only the config of this `name`")
	fs.StringVar(&p.split, "split", "", "with --parquet: only the split of this `name`")
	fs.IntVar(&p.shard, "shard", 0, "with --parquet --shape hub: the address of file `n` of a split")
}

// check refuses flags that would do nothing.
func (p *parquetFlags) check(cmd *cobra.Command) error {
	if p.parquet {
		return nil
	}
	for _, name := range []string{"shape", "config-name", "split", "shard"} {
		if cmd.Flags().Changed(name) {
			return &usageError{fmt.Errorf("--%s needs --parquet", name)}
		}
	}
	return nil
}

// list prints the listing with exactly the keys that the viewer or the Hub
// gives it, and why it is empty if it is.
func (p *parquetFlags) list(ctx context.Context, cmd *cobra.Command, c *client.Client, dataset, revision string) error {
	r := client.ParquetRequest{Dataset: dataset, Revision: revision, Config: p.config, Split: p.split, Shape: p.shape}
	if cmd.Flags().Changed("shard") {
		r.Shard = &p.shard
	}
	var value any
	var reason string
	var err error
	if p.shape == "hub" {
		value, reason, err = c.ParquetURLs(ctx, r)
	} else {
		var l client.ParquetListing
		l, err = c.Parquet(ctx, r)
		value, reason = l, l.Reason
	}
	if err != nil {
		return err
	}
	if reason != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "no conversion: %s\n", reason)
	}
	out := json.NewEncoder(cmd.OutOrStdout())
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(value)
}
