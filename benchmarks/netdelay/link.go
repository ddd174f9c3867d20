package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// pieceBytes is what is read at once: large enough that a gigabyte is a few
	// thousand pieces, small enough that a piece does not wait to be filled.
	pieceBytes = 256 << 10
	// dialTimeout bounds the connection to the target, which is near.
	dialTimeout = 10 * time.Second
)

// link is a path with a round-trip time; immutable, safe for concurrent use.
type link struct {
	target string
	rtt    time.Duration
	buffer int64
	line   *line // what all answers share; nil: as wide as loopback
}

// line is a width that connections share: bytes pass one after the other, as fast
// as it lets them. Safe for concurrent use.
type line struct {
	bytesPerSecond float64

	mu   sync.Mutex
	free time.Time // when the bytes so far are through
}

// through gives the moment at which n bytes that arrive now have passed.
func (l *line) through(n int, now time.Time) time.Time {
	if l == nil {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.bytesPerSecond * float64(time.Second)))
	return l.free
}

// Validate refuses settings under which nothing could flow.
func (l link) Validate() error {
	switch {
	case l.target == "":
		return errors.New("-target is missing: name the address to connect to")
	case l.rtt < 0:
		return fmt.Errorf("-rtt is %v: a delay cannot be negative", l.rtt)
	case l.buffer < pieceBytes:
		return fmt.Errorf("-buffer is %d: it must hold a piece of %d bytes", l.buffer, pieceBytes)
	case l.line != nil && !(l.line.bytesPerSecond > 0):
		return fmt.Errorf("-rate is %g: it is the bytes per second that pass, above 0", l.line.bytesPerSecond)
	}
	return nil
}

// serve passes connections on until ctx ends, and returns when the last one is
// closed. It closes the listener.
func (l link) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { _ = listener.Close() }) // a second close says so, which nobody needs
	defer unhook()
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return err
		}
		open.Go(func() {
			defer recovered()
			if err := l.carry(ctx, conn); err != nil {
				fmt.Fprintln(os.Stderr, "netdelay:", err)
			}
		})
	}
}

// carry joins one accepted connection with a new one to the target, until both
// directions have ended or ctx does. It closes both.
func (l link) carry(ctx context.Context, near net.Conn) error {
	defer near.Close()
	dialer := net.Dialer{Timeout: dialTimeout}
	far, err := dialer.DialContext(ctx, "tcp", l.target)
	if err != nil {
		return err
	}
	defer far.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { _ = errors.Join(near.Close(), far.Close()) })
	defer unhook()
	var both sync.WaitGroup
	for _, d := range []direction{
		// The handshake of the real path: SYN and its answer.
		{from: near, to: far, delay: l.rtt / 2, opens: time.Now().Add(l.rtt), buffer: l.buffer},
		{from: far, to: near, delay: l.rtt / 2, buffer: l.buffer, line: l.line},
	} {
		both.Go(func() {
			defer recovered()
			if d.pass(ctx) != nil {
				cancel() // a reset of one direction is one of both
			}
		})
	}
	both.Wait()
	return nil
}

// direction is one half of a connection.
type direction struct {
	from, to net.Conn
	delay    time.Duration
	// opens is when the first byte could have left the sender.
	opens  time.Time
	buffer int64
	line   *line
}

// piece is what one read gave, and when it is due at the other side.
type piece struct {
	bytes []byte
	due   time.Time
}

// pass moves bytes until their end, which it passes on, or the first error.
func (d direction) pass(ctx context.Context) error {
	// Small pieces take a whole slot, so that slots bound bytes.
	travelling := make(chan piece, d.buffer/pieceBytes)
	free := &sync.Pool{New: func() any { return new([pieceBytes]byte) }}
	var reading sync.WaitGroup
	var readErr error
	reading.Go(func() {
		defer recovered()
		defer close(travelling)
		readErr = d.read(ctx, travelling, free)
	})
	writeErr := d.write(ctx, travelling, free)
	if writeErr != nil {
		// The reader may be waiting for bytes that nobody will take.
		_ = errors.Join(d.from.Close(), d.to.Close())
		for range travelling {
		}
	}
	reading.Wait()
	return errors.Join(readErr, writeErr)
}

func (d direction) read(ctx context.Context, travelling chan<- piece, free *sync.Pool) error {
	for {
		room, ok := free.Get().(*[pieceBytes]byte)
		if !ok {
			return errors.New("foreign memory in the pool")
		}
		n, err := d.from.Read(room[:])
		if n > 0 {
			left := time.Now()
			if left.Before(d.opens) {
				left = d.opens
			}
			select {
			case travelling <- piece{room[:n], d.line.through(n, left).Add(d.delay)}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d direction) write(ctx context.Context, travelling <-chan piece, free *sync.Pool) error {
	for p := range travelling {
		if err := waitUntil(ctx, p.due); err != nil {
			return err
		}
		if _, err := d.to.Write(p.bytes); err != nil {
			return err
		}
		free.Put((*[pieceBytes]byte)(p.bytes[:pieceBytes]))
	}
	if half, ok := d.to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func waitUntil(ctx context.Context, due time.Time) error {
	rest := time.Until(due)
	if rest <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recovered keeps one connection's bug from ending the others.
func recovered() {
	if trouble := recover(); trouble != nil {
		fmt.Fprintf(os.Stderr, "netdelay: %v\n%s", trouble, debug.Stack())
	}
}
