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
	"syscall"
)

func main() {
	profile := flag.String("cpuprofile", "", "file for a CPU profile of all questions")
	heap := flag.String("heapprofile", "", "file for a profile of what was allocated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Arg(0), *profile, *heap); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		stop()
		os.Exit(1)
	}
}

// run serves as the named reader.
func run(ctx context.Context, name, profile, heap string) (err error) {
	var r read
	switch name {
	case "hubflight":
		o := newOurs()
		defer func() { err = errors.Join(err, o.close()) }()
		r = o.read
	case "library":
		r = readLibrary
	default:
		return fmt.Errorf("%q is no reader: hubflight or library", name)
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
