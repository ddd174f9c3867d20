package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/source"
)

func main() {
	out := flag.String("out", "", "Arrow file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0), *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// run reads what the command, a JSON object such as {"dataset":"ns/name","columns":["id"]}, asks for, into the file.
func run(ctx context.Context, command, out string) error {
	var read client.Read
	if err := json.Unmarshal([]byte(command), &read); err != nil {
		return fmt.Errorf("command: %w", err)
	}
	began := time.Now()
	c, err := client.Dial(ctx, os.Getenv("HUBFLIGHT_SERVER"), client.Options{HubToken: source.NewHubToken(os.Getenv("HF_TOKEN"))})
	if err != nil {
		return err
	}
	defer c.Close()
	rows, batches, err := save(ctx, c.Dataset(read), out)
	if err != nil {
		return err
	}
	fmt.Printf("%-14s %9d rows in %4d batches, %4d ms\n", read.Dataset, rows, batches, time.Since(began).Milliseconds())
	return nil
}

// save writes every batch of the dataset, in order, and counts.
func save(ctx context.Context, dataset *client.Dataset, out string) (rows int64, batches int, err error) {
	schema, err := dataset.Schema(ctx)
	if err != nil {
		return 0, 0, err
	}
	file, err := os.Create(out)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	writer, err := ipc.NewFileWriter(file, ipc.WithSchema(schema))
	if err != nil {
		return 0, 0, err
	}
	for batch, err := range dataset.Scan(ctx, client.ScanOptions{Parallel: 2, Ordered: true}) {
		if err == nil {
			err = writer.Write(batch)
		}
		if err != nil {
			return rows, batches, errors.Join(err, writer.Close())
		}
		rows += batch.NumRows()
		batches++
	}
	return rows, batches, writer.Close()
}
