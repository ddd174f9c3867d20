package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
)

// TestNamesOfOthersAreNoOrdersToTheTerminal: who makes a repository chooses the names of
// its files and configs.
func TestNamesOfOthersAreNoOrdersToTheTerminal(t *testing.T) {
	const name = "a\x1b]0;x\ab\u009bc\rd\ne\xff.parquet"
	const want = "a\ufffd]0;x\ufffdb\ufffdc\ufffdd\ufffde\ufffd.parquet"
	var table, picture, svg, failure bytes.Buffer
	if err := printTable(&table, []column{text("FILE"), number("ROWS")}, [][]string{{name, "7"}}); err != nil {
		t.Fatal(err)
	}
	e := &client.Explanation{Files: []client.ExplainedFile{{File: name, Groups: []client.ExplainedGroup{{Kept: true}}}}}
	if err := errors.Join(drawPlan(&picture, 0, e), writeSVG(&svg, "demo/x", e)); err != nil {
		t.Fatal(err)
	}
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		return errors.Join(source.Errorf(source.KindCorrupt, "plan", "%s", name), errors.New("another line"))
	}}
	execute(context.Background(), root, nil, &failure)
	for what, got := range map[string]string{"table": table.String(), "picture": picture.String(), "SVG": svg.String()} {
		if !strings.Contains(got, want) || !utf8.ValidString(got) || strings.ContainsAny(got, "\x1b\a\r\u009b") {
			t.Errorf("the %s has %q", what, got)
		}
	}
	if got := failure.String(); strings.ContainsAny(got, "\x1b\a\r") || !strings.HasSuffix(got, "\nanother line\n") {
		t.Errorf("the error is printed as %q", got)
	}
}
