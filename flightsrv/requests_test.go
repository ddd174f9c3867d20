package flightsrv_test

import (
	"context"
	"testing"

	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestEveryAnswerSaysWhatItCostAtEachOrigin(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(append(duorc(t), hubtest.Dataset("demo/numbers", map[string][]byte{
		"data/train-00000-of-00002.parquet": flighttest.Numbers(t, 0, 300),
		"data/train-00001-of-00002.parquet": flighttest.Numbers(t, 300, 300),
	}))...))
	read := client.Read{Dataset: "demo/numbers"}
	last := f.Client.Requests()
	for _, call := range []struct {
		name string
		free bool
		do   func(ctx context.Context) error
	}{
		{"a plan", false, func(ctx context.Context) error { _, err := f.Client.Dataset(read).Plan(ctx); return err }},
		{"the same plan again", true, func(ctx context.Context) error {
			at := read
			head, err := f.Hub.Head("demo/numbers", "main")
			if err != nil {
				return err
			}
			at.Revision = head
			_, err = f.Client.Dataset(at).Plan(ctx)
			return err
		}},
		{"splits", false, func(ctx context.Context) error { _, _, err := f.Client.Splits(ctx, "demo/numbers", ""); return err }},
		{"explain", false, func(ctx context.Context) error { _, err := f.Client.Dataset(read).Explain(ctx); return err }},
		{"a listing of the viewer", false, func(ctx context.Context) error {
			_, err := f.Client.Parquet(ctx, client.ParquetRequest{Dataset: "ibm/duorc"})
			return err
		}},
		{"a scan", false, func(ctx context.Context) error {
			for batch, err := range f.Client.Dataset(read).Scan(ctx, client.ScanOptions{}) {
				if err != nil {
					return err
				}
				batch.Release()
			}
			return nil
		}},
		{"an error", false, func(ctx context.Context) error {
			if _, err := f.Client.Dataset(client.Read{Dataset: "demo/none-such"}).Plan(ctx); err == nil {
				t.Error("no error")
			}
			return nil
		}},
	} {
		f.Hub.ForgetRequests()
		if err := call.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
		var want client.Requests
		for _, r := range f.Hub.Requests() {
			switch r.Origin {
			case "hub":
				want.Hub++
			case "cdn":
				want.CDN++
			default:
				want.Viewer++
			}
		}
		now := f.Client.Requests()
		got := client.Requests{Hub: now.Hub - last.Hub, CDN: now.CDN - last.CDN, Viewer: now.Viewer - last.Viewer}
		last = now
		if got != want || (want == client.Requests{}) != call.free {
			t.Errorf("%s: the server says %v, the Hub saw %v", call.name, got, want)
		}
	}
}
