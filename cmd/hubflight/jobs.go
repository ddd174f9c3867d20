package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
)

func newJobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "Tell what became of write jobs",
		Long: `Tell what became of write jobs.

A commit whose answer was lost is found in the dataset's history by the job's id;
complete means that all rows are there.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newJobsListCommand(), newJobsShowCommand(), newJobsResumeCommand(), newJobsAbortCommand())
	return cmd
}

func newJobsListCommand() *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:     "list [DATASET]",
		Short:   "List the jobs of a dataset, or those that the server has begun for you",
		Example: `  hubflight jobs list demo/flights`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				items, err := c.Jobs(ctx, firstOf(args), f.revision, "")
				if err != nil {
					return err
				}
				return printJobs(cmd, f.asJSON, items)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func newJobsShowCommand() *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "show JOB [DATASET]",
		Short: "Show one job and its commits",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				items, err := c.Jobs(ctx, firstOf(args[1:]), f.revision, args[0])
				if err != nil {
					return err
				}
				if err := printJobs(cmd, f.asJSON, items); err != nil || f.asJSON {
					return err
				}
				for _, item := range items {
					for _, commit := range item.Commits {
						if _, err := fmt.Fprintln(cmd.OutOrStdout(), commit); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	f.add(cmd)
	return cmd
}

func newJobsResumeCommand() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "resume JOB",
		Short: "Commit a job that hubflight put has staged and could not commit",
		Long: `Commit a job that hubflight put has staged and could not commit.

Nothing is uploaded again, commits that are there are not repeated, and any server
of the same Hub or folder will do. A job that is finished by now gives its first
answer. One that cannot be committed at all, because others changed what it builds on
or its files are not stored any more, is given up.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			commit, err := keptJob(args[0])
			if err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				result, err := commitStaged(ctx, cmd, c, commit, true)
				if err != nil {
					return err
				}
				return printCommit(cmd, f.asJSON, commit.Job, result)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func newJobsAbortCommand() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "abort JOB",
		Short: "Stop a job's uploads and forget what is spooled; commits stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkJob(args[0]); err != nil {
				return err
			}
			return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if err := c.Abort(ctx, args[0]); err != nil {
					return err
				}
				dropJob(args[0])
				if !f.asJSON {
					return nil
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"job": args[0], "state": "aborted"})
			})
		},
	}
	f.add(cmd)
	return cmd
}

func printJobs(cmd *cobra.Command, asJSON bool, items []client.JobItem) error {
	if asJSON {
		if items == nil {
			items = []client.JobItem{}
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(items)
	}
	var table [][]string
	for _, item := range items {
		of := "?"
		if item.Of > 0 {
			of = fmt.Sprint(item.Of)
		}
		table = append(table, []string{item.Job, item.State, fmt.Sprintf("%d of %s", len(item.Commits), of), item.Updated, item.Dataset})
	}
	return printTable(cmd.OutOrStdout(), []column{text("JOB"), text("STATE"), text("COMMITS"), text("UPDATED"), text("DATASET")}, table)
}
