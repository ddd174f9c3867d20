package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// putFlags are what put writes and where.
type putFlags struct {
	readFlags
	config, split, mode, message string
	create, public, dryRun       bool
}

func newPutCommand() *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "put FILE... DATASET",
		Short: "Write Parquet, Arrow, CSV or JSON-lines files to a dataset",
		Long: `Write files to a split of a dataset, as one job: all of their rows or none.

The format follows from a file's name: .parquet, .arrow (a file or a stream), .csv
(with a header) or .jsonl. All files must have the same columns.

What a column of CSV files is, all of its cells in all of them decide: int64, double,
bool, a date, a time, a timestamp, or else text, which numbers with leading zeros are
too. A cell that is empty, NULL or null is null; a column of such cells only is what
the dataset has there.`,
		Example: `  hubflight put flights-*.csv demo/flights --create-repo
  hubflight put new.parquet demo/flights --split test --mode overwrite --dry-run`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args[:len(args)-1], args[len(args)-1])
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.config, "config-name", "", "`name` of the dataset's config (the Hub's subset)")
	fs.StringVar(&f.split, "split", "", "`name` of the split (default: train)")
	fs.StringVar(&f.mode, "mode", string(writer.ModeAppend), "`what` happens to rows that are there: append, overwrite, errorifexists or ignore")
	fs.StringVar(&f.message, "message", "Upload using hubflight", "`text` of the commit")
	fs.BoolVar(&f.create, "create-repo", false, "create the dataset if it is missing")
	fs.BoolVar(&f.public, "public", false, "with --create-repo: not private")
	fs.BoolVar(&f.dryRun, "dry-run", false, "check files, target and rights, and write nothing")
	return cmd
}

func (f *putFlags) run(cmd *cobra.Command, files []string, dataset string) error {
	if f.public && !f.create {
		return &usageError{errors.New("--public needs --create-repo: a dataset that is there keeps its visibility")}
	}
	if err := writer.CheckMessage(f.message); err != nil {
		return &usageError{err}
	}
	inputs := make([]*rowFile, 0, len(files))
	// Every file is looked at before anything is sent: a wrong name costs nothing.
	for _, name := range files {
		in, err := openRows(cmd.Context(), name)
		if err != nil {
			return err
		}
		inputs = append(inputs, in)
	}
	if err := agree(inputs); err != nil {
		return err
	}
	for _, in := range inputs {
		for _, note := range in.notes {
			fmt.Fprintln(cmd.ErrOrStderr(), note)
		}
		if how := columnsDiffer(in.schema, inputs[0].schema); how != "" {
			return source.Errorf(source.KindInvalid, "put", "%s has other columns than %s: %s", in.name, inputs[0].name, how)
		}
	}
	open := withoutValues(inputs)
	schema, err := writer.EncodeSchema(untyped(inputs[0].schema, open))
	if err != nil {
		return err
	}
	private := !f.public
	begin := writer.BeginRequest{V: writer.Version, Job: uuid.NewString(), Dataset: dataset, Revision: f.revision, Config: f.config, Split: f.split,
		Mode: writer.Mode(f.mode), CreateRepo: f.create && !f.dryRun, Private: &private, FilesExpected: len(files), Schema: schema}
	if err := begin.Validate(); err != nil {
		return &usageError{err}
	}
	return f.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		begun, err := c.Begin(ctx, begin)
		if f.dryRun && f.create && source.KindOf(err) == source.KindNotFound {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s would be created\n", dataset)
			err = nil
		}
		if err != nil {
			return err
		}
		if begun.Reason != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), begun.Reason)
		}
		if begun.Skip {
			if f.asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"job": begin.Job, "skipped": begun.Reason})
			}
			return nil
		}
		if f.dryRun {
			abortJob(ctx, c, begin.Job) // the server has begun it
			for _, in := range inputs {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", in.name, bytesText(in.size)); err != nil {
					return err
				}
			}
			return nil
		}
		if err := leaveTypes(inputs, open, begun); err != nil {
			return err
		}
		result, err := f.write(ctx, cmd, c, begin, begun, inputs)
		if err != nil {
			return err
		}
		return printCommit(cmd, f.asJSON, begin.Job, result)
	})
}

// write stages every file and commits them.
func (f *putFlags) write(ctx context.Context, cmd *cobra.Command, c *client.Client, b writer.BeginRequest, begun writer.BeginResult, inputs []*rowFile) (writer.CommitResult, error) {
	bar, drawn := putProgress(cmd, inputs)
	defer drawn()
	var staged []writer.StagedFile
	for i, in := range inputs {
		result, err := c.Stage(ctx, writer.StageRequest{V: writer.Version, Job: b.Job, Dataset: b.Dataset, Revision: begun.Revision, Base: begun.Base,
			Mode: b.Mode, Config: b.Config, Split: b.Split, Partition: i, Attempt: "0"}, in.schema, watched(in.rows(ctx), bar), nil)
		if err != nil {
			abortJob(ctx, c, b.Job)
			return writer.CommitResult{}, err
		}
		staged = append(staged, result.Files...)
	}
	drawn()
	commit := writer.CommitRequest{V: writer.Version, Job: b.Job, Dataset: b.Dataset, Revision: begun.Revision, Base: begun.Base, Mode: b.Mode,
		Config: b.Config, Split: b.Split, Files: staged, Message: f.message}
	unkept := keepJob(commit)
	if unkept != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "the job is not kept for hubflight jobs resume: %v\n", unkept)
	}
	return commitStaged(ctx, cmd, c, commit, unkept == nil)
}

// commitStaged commits a job. A commit may be repeated; one that does not succeed here
// can be taken up later, if it is kept and need not fail again. Otherwise the job is
// given up, with what is staged for it.
func commitStaged(ctx context.Context, cmd *cobra.Command, c *client.Client, commit writer.CommitRequest, kept bool) (writer.CommitResult, error) {
	for again := 0; ; again++ {
		result, err := c.Commit(ctx, commit, nil)
		if err == nil {
			dropJob(commit.Job)
			return result, nil
		}
		kind := source.KindOf(err)
		if again < 2 && ctx.Err() == nil && (kind == source.KindUnknownOutcome || kind == source.KindUpstream) {
			continue
		}
		if kept && !failsAgain(err) {
			fmt.Fprintf(cmd.ErrOrStderr(), "the rows are stored; to commit them: hubflight jobs resume %s\n", commit.Job)
			return result, err
		}
		dropJob(commit.Job)
		abortJob(ctx, c, commit.Job)
		fmt.Fprintf(cmd.ErrOrStderr(), "the job is given up; put the files again, unless it has committed some of them: hubflight jobs show %s %s\n", commit.Job, commit.Dataset)
		return result, err
	}
}

// failsAgain reports whether a commit that ended so would end so whenever the same
// files are committed. A right that is missing can be given, and another server asked;
// and a conflict that says when to try again is with a busy branch, not with what the
// job builds on.
func failsAgain(err error) bool {
	switch source.KindOf(err) {
	case source.KindInvalid, source.KindExists, source.KindLimit, source.KindStagedLost:
		return true
	case source.KindConflict:
		return source.AsError("commit", err).RetryAfter == 0
	}
	return false
}

// abortJob drops what is staged, also if the user does not wait for it any more.
// Nothing that is visible goes with it, and without it nothing is wrong.
func abortJob(ctx context.Context, c *client.Client, job string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = c.Abort(ctx, job)
}

func printCommit(cmd *cobra.Command, asJSON bool, job string, r writer.CommitResult) error {
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"job": job, "head": r.Head, "commits": r.Commits, "rows": r.Rows, "files": r.PathsTotal, "resolves": r.Resolves})
	}
	if r.Hint != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), r.Hint)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s in %s, commit %.12s, job %s\n", count(int(r.Rows), "row"), count(r.PathsTotal, "file"), r.Head, job)
	return err
}

// watched tells the bar how far the input has been read.
func watched(rows iter.Seq2[arrow.RecordBatch, error], bar func()) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for rec, err := range rows {
			bar()
			if !yield(rec, err) {
				return
			}
		}
	}
}

// putProgress draws a bar of the bytes that have been read, on a terminal. What is
// printed after drawn begins on a clear line, however far the bar came.
func putProgress(cmd *cobra.Command, inputs []*rowFile) (draw, drawn func()) {
	stderr, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(stderr.Fd())) {
		return func() {}, func() {}
	}
	var total int64
	for _, in := range inputs {
		total += in.size
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(stderr), progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish())
	draw = func() {
		var read int64
		for _, in := range inputs {
			read += min(in.read(), in.size)
		}
		_ = bar.Set64(read) // a bar that cannot be drawn is no failure
	}
	return draw, func() { _ = bar.Finish() }
}
