package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/source"
)

// Exit codes of every verb.
const (
	exitOK             = 0
	exitFailed         = 1
	exitUsage          = 2
	exitNotFound       = 3
	exitDenied         = 4
	exitUnknownOutcome = 5
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default action is back: a second one ends the
	// process at once.
	context.AfterFunc(ctx, stop)
	// A reader of stdout that leaves early must not kill the process before it has
	// removed its temporary files: the failed write ends the verb instead.
	signal.Ignore(syscall.SIGPIPE)
	return execute(ctx, newRootCommand(), os.Args[1:], os.Stderr)
}

// execute runs a command line and reports its error on stderr.
func execute(ctx context.Context, root *cobra.Command, args []string, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, syscall.EPIPE) {
		return exitOK // whoever read our output has enough, as with `| head`
	}
	if err != nil {
		lines := strings.Split("hubflight: "+source.Redact(err.Error()), "\n")
		for _, line := range lines {
			fmt.Fprintln(stderr, printable(line))
		}
	}
	return exitCode(err)
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	}
	switch source.KindOf(err) {
	case source.KindNotFound:
		return exitNotFound
	case source.KindDenied, source.KindUnauthenticated:
		return exitDenied
	case source.KindUnknownOutcome:
		return exitUnknownOutcome
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hubflight",
		Short: "Hugging Face datasets over Arrow Flight, for Spark and everybody else",
		Long: `hubflight is an Arrow Flight server for Hugging Face datasets and for local
folders laid out the same way. Spark reads it as spark.read.format("hubflight").

A dataset is named  ns/name[@revision] · hf://datasets/ns/name[@revision][/path]
or  file:///folder  (below a folder given with --local.roots).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	addGroup(root, "Datasets:", newLsCommand(), newSchemaCommand(), newPlanCommand(), newCountCommand(), newCatCommand(), newPutCommand(), newJobsCommand())
	addGroup(root, "Servers:", newServeCommand(), newConfigCommand(), newHubCommand())
	root.AddCommand(newVersionCommand(), newEmbeddedCommand())
	root.SetUsageTemplate(wrapFlags(root.UsageTemplate()))
	for _, verb := range allCommands(root) {
		verb.SuggestionsMinimumDistance = 2 // two letters swapped are a distance of two
		verb.Args = usageArgs(verb.Args)
	}
	return root
}

// wrapFlags breaks the lines of a help where the terminal ends, or at 80 letters.
func wrapFlags(template string) string {
	return strings.ReplaceAll(template, "Flags.FlagUsages", fmt.Sprintf("Flags.FlagUsagesWrapped %d", helpWidth()))
}

// helpWidth is the longest line of a list of flags.
func helpWidth() int {
	if width := terminalWidth(os.Stdout); width > 0 {
		return max(60, min(110, width))
	}
	return 80
}

// addGroup adds verbs under a heading of the help.
func addGroup(root *cobra.Command, title string, verbs ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, v := range verbs {
		v.GroupID = title
		root.AddCommand(v)
	}
}

func allCommands(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, c := range root.Commands() {
		all = append(all, allCommands(c)...)
	}
	return all
}

// usageArgs makes wrong arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.NoArgs
		}
		if err := check(cmd, args); err != nil {
			if near := cmd.SuggestionsFor(firstOf(args)); cmd.HasSubCommands() && len(near) > 0 {
				err = fmt.Errorf("%w: did you mean %s?", err, near[0])
			}
			return &usageError{fmt.Errorf("%w (usage: %s; more with %s --help)", err, cmd.UseLine(), cmd.CommandPath())}
		}
		return nil
	}
}

func firstOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
