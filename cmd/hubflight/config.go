package main

import (
	"encoding/json"

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
				var table [][]string
				for _, s := range settings {
					table = append(table, []string{s.Key, s.Value, s.Source})
				}
				if werr := printTable(out, []column{text("KEY"), text("VALUE"), text("FROM")}, table); werr != nil {
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
