package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Look at the server's configuration", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newConfigPrintCommand())
	return cmd
}

func newConfigPrintCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every effective setting and where it comes from",
		Long: `Print every setting that "hubflight serve" would use with the same flags,
environment and file, and where each value comes from.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, settings, err := config.Load(cmd.Flags())
			if err != nil && settings == nil {
				return &usageError{err} // the file could not be read: there is nothing to show
			}
			out := cmd.OutOrStdout()
			if asJSON {
				if werr := json.NewEncoder(out).Encode(settings); werr != nil {
					return werr
				}
			} else {
				table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "KEY\tVALUE\tFROM")
				for _, s := range settings {
					fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, s.Value, s.Source)
				}
				if werr := table.Flush(); werr != nil {
					return werr
				}
			}
			if err != nil {
				return &usageError{err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	config.AddFlags(cmd.Flags())
	return cmd
}
