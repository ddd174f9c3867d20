package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to accept at; port 0 picks a free one")
	target := flag.String("target", "", "address to connect to, for each accepted connection")
	rtt := flag.Duration("rtt", 30*time.Millisecond, "round-trip time; each direction is delayed by half of it")
	buffer := flag.Int64("buffer", 64<<20, "most bytes of one direction that are on their way")
	rate := flag.Float64("rate", 0, "bytes per second of all answers together; 0: as many as loopback carries")
	flag.Parse()
	l := link{target: *target, rtt: *rtt, buffer: *buffer}
	if *rate != 0 {
		l.line = &line{bytesPerSecond: *rate}
	}
	if err := run(*listen, l); err != nil {
		fmt.Fprintln(os.Stderr, "netdelay:", err)
		os.Exit(1)
	}
}

func run(listen string, l link) error {
	if err := l.Validate(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr()) // scripts wait for this line
	return l.serve(ctx, listener)
}
