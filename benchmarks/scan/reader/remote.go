package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/hub"
)

// streams is how many files are read at a time.
const streams = 4

// remote reads all files of a dataset from a Hub as the server does, without the
// server. Every question begins with nothing known: listing, footers and signed
// addresses are asked for again.
type remote struct{ endpoint string }

func (r remote) read(ctx context.Context, q question, schema func(*arrow.Schema) error, batch take) error {
	client, err := hub.New(hub.Options{Endpoint: r.endpoint, AllowPrivateCDN: true})
	if err != nil {
		return err
	}
	defer client.Close()
	planner := dataset.NewPlanner(dataset.PlannerOptions{Open: func(_ context.Context, ref source.Ref, token source.HubToken) (source.Store, error) {
		return client.Dataset(ref.Repo, token), nil
	}})
	ref, err := source.ParseRef(q.Path)
	if err != nil {
		return err
	}
	plan, err := planner.Plan(ctx, source.HubToken{}, dataset.Request{Ref: ref, Limit: -1})
	if err != nil {
		return err
	}
	if err := schema(plan.Schema); err != nil {
		return err
	}
	var one sync.Mutex // batch may not be called twice at once
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(streams)
	for _, part := range plan.Partitions {
		reading.Go(func() error {
			return readPart(ctx, planner, part, func(b arrow.RecordBatch) error {
				one.Lock()
				defer one.Unlock()
				return batch(b)
			})
		})
	}
	return reading.Wait()
}

func readPart(ctx context.Context, planner *dataset.Planner, part dataset.Partition, batch take) (err error) {
	stream, err := planner.Read(ctx, dataset.ReadParams{Partition: part, Stop: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	return drain(ctx, stream, batch)
}

// download fetches the same files whole, as many at a time, and looks at nothing:
// what the line gives. Its rows are bytes.
func (r remote) download(ctx context.Context, q question, schema func(*arrow.Schema) error, batch take) error {
	client, err := hub.New(hub.Options{Endpoint: r.endpoint, AllowPrivateCDN: true})
	if err != nil {
		return err
	}
	defer client.Close()
	ref, err := source.ParseRef(q.Path)
	if err != nil {
		return err
	}
	store := client.Dataset(ref.Repo, source.HubToken{})
	at, err := store.Resolve(ctx, "")
	if err != nil {
		return err
	}
	none := arrow.NewSchema(nil, nil)
	if err := schema(none); err != nil {
		return err
	}
	getting, gctx := errgroup.WithContext(ctx)
	getting.SetLimit(streams)
	size := int64(0)
	for file, err := range store.Files(ctx, at, "data") {
		if err != nil {
			return errors.Join(err, getting.Wait())
		}
		size += file.Size
		getting.Go(func() error { return r.get(gctx, ref.Repo, file) })
	}
	if err := getting.Wait(); err != nil {
		return err
	}
	all := array.NewRecordBatch(none, nil, size)
	defer all.Release()
	return batch(all)
}

func (r remote) get(ctx context.Context, repo string, file source.File) error {
	address, err := url.JoinPath(r.endpoint, "datasets", repo, "resolve", file.At.Commit, file.Path)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.Copy(io.Discard, response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || got != file.Size) {
		err = fmt.Errorf("%s: %s, %d of %d bytes", file.Path, response.Status, got, file.Size)
	}
	return err
}
