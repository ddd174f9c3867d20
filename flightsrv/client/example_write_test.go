package client_test

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/writer"
)

// A job of two tasks: each stages its rows, on whatever machine it runs, and one
// commit makes the files of both visible. Each of the three steps may be repeated.
func ExampleClient_Commit() {
	server, stop := exampleServer()
	defer stop()
	ctx := context.Background()

	write := func() error {
		c, err := client.Dial(ctx, server, client.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		id, dataset := uuid.NewString(), "demo/made"
		begun, err := c.Begin(ctx, writer.BeginRequest{V: writer.Version, Job: id, Dataset: dataset, Mode: "append", CreateRepo: true})
		if err != nil {
			return err
		}
		commit := writer.CommitRequest{V: writer.Version, Job: id, Dataset: dataset, Mode: "append", Base: begun.Base, Revision: begun.Revision}
		for task := range 2 {
			request := writer.StageRequest{V: writer.Version, Job: id, Dataset: dataset, Mode: "append", Base: begun.Base, Revision: begun.Revision, Partition: task, Attempt: "0"}
			staged, err := c.Stage(ctx, request, idSchema, idBatches(3, nil), nil)
			if err != nil {
				return err
			}
			commit.Files = append(commit.Files, staged.Files...)
		}
		done, err := c.Commit(ctx, commit, nil)
		if err != nil {
			return err
		}
		again, err := c.Commit(ctx, commit, nil)
		if err != nil {
			return err
		}
		fmt.Printf("%d rows in %d files, %d commit; repeated: %v\n", done.Rows, done.PathsTotal, len(done.Commits), again.Already)

		rows := int64(0)
		for batch, err := range c.Dataset(client.Read{Dataset: dataset}).Scan(ctx, client.ScanOptions{}) {
			if err != nil {
				return err
			}
			rows += batch.NumRows()
		}
		fmt.Println(rows, "rows read")
		return nil
	}

	fmt.Println("error:", write())
	// Output:
	// 60 rows in 2 files, 1 commit; repeated: true
	// 60 rows read
	// error: <nil>
}
