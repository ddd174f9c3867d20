package main

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/config"
	"github.com/hubflight/hubflight/source/hub/hubtest"
)

func TestNoFootersAreKeptWhereTheCacheIsEmpty(t *testing.T) {
	run := hubtest.New(t, hubtest.Dataset("ns/name", map[string][]byte{"train.parquet": numbers(0, 10, "x")}))
	for size, keeps := range map[config.Size]bool{0: false, 1 << 20: true} {
		t.Run(size.String(), func(t *testing.T) {
			cfg := config.Default()
			cfg.Cache.Footers, cfg.Hub.Endpoint = size, run.HubURL
			cfg.Server.Address, cfg.Server.Unix = "", filepath.Join(t.TempDir(), "s")
			svc, err := assemble(cfg, flightsrv.Auth{Mode: flightsrv.AuthNone}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer svc.close()
			listeners, location, err := listen(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- svc.server.Serve(listeners...) }()
			defer func() { svc.server.Drain(time.Second); <-served }()
			c, err := client.Dial(t.Context(), location, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var reads [2]int // of the file, by each of two plans
			for i := range reads {
				run.ForgetRequests()
				if _, err := c.Dataset(client.Read{Dataset: "ns/name"}).Plan(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, r := range run.Requests() {
					if r.Header.Get("Range") != "" {
						reads[i]++
					}
				}
			}
			if reads[0] == 0 || (reads[1] == 0) != keeps {
				t.Errorf("cache.footers %v: the plans have read the footer %v times", size, reads)
			}
		})
	}
}
