package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
)

func main() {
	profile := flag.String("cpuprofile", "", "file for a CPU profile of all questions")
	heap := flag.String("heapprofile", "", "file for a profile of what was allocated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Args(), *profile, *heap); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		stop()
		os.Exit(1)
	}
}

// run serves as the named reader; those of a Hub have its address behind the name.
func run(ctx context.Context, named []string, profile, heap string) (err error) {
	var r read
	switch name := strings.Join(named[:min(1, len(named))], ""); {
	case name == "hubflight" && len(named) == 1:
		o := newOurs()
		defer func() { err = errors.Join(err, o.close()) }()
		r = o.read
	case name == "library" && len(named) == 1:
		r = readLibrary
	case name == "remote" && len(named) == 2:
		r = remote{endpoint: named[1]}.read
	case name == "download" && len(named) == 2:
		r = remote{endpoint: named[1]}.download
	default:
		return fmt.Errorf("%q is no reader: hubflight, library, remote ENDPOINT or download ENDPOINT", named)
	}
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := serve(ctx, r, os.Stdin, os.Stdout); err != nil || heap == "" {
		return err
	}
	return writeHeap(heap)
}

func writeHeap(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC() // so that what is live is told apart from what was allocated
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
