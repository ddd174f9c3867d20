package flightsrv

import (
	"cmp"
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubflight/hubflight/source"
)

// Limits bound what clients can take. The zero value of a field means its
// default; see config for the meaning of each.
type Limits struct {
	MaxStreams     int
	MaxMessage     int
	DecodeSlots    int
	QueueTimeout   time.Duration
	IdleTimeoutGet time.Duration
	IdleTimeoutPut time.Duration
	// ScanMemory is what open scans may hold together, in bytes.
	ScanMemory int64
	// NoSharedMemory sends every batch through the connection, also to clients of
	// this machine that ask for something better.
	NoSharedMemory bool
}

const (
	maxHeaders  = 64 << 10  // of one call: two tokens and room; by itself gRPC takes 16 MiB
	maxCommand  = 256 << 10 // a read command: 64 KiB of filters and room for names
	maxTicket   = 4 << 20   // one ticket of a filtered limit lists every kept file
	maxAction   = 64 << 20  // a commit body with a hundred thousand files
	maxResult   = 1 << 20   // one Result of an action
	defaultInfo = 7 << 19   // 3.5 MiB: grpc-go and tonic clients refuse 4 MiB
	maxInfo     = 1 << 30
)

func (l Limits) withDefaults() Limits {
	l.MaxStreams = cmp.Or(l.MaxStreams, 4096)
	l.MaxMessage = cmp.Or(l.MaxMessage, 64<<20)
	l.DecodeSlots = cmp.Or(l.DecodeSlots, 4)
	l.ScanMemory = cmp.Or(l.ScanMemory, 4<<30)
	l.QueueTimeout = cmp.Or(l.QueueTimeout, 10*time.Minute)
	l.IdleTimeoutGet = cmp.Or(l.IdleTimeoutGet, 30*time.Minute)
	l.IdleTimeoutPut = cmp.Or(l.IdleTimeoutPut, 2*time.Minute)
	return l
}

// streams counts the open DoGet and DoPut streams, and the actions that scan.
type streams struct {
	open  atomic.Int64
	max   int64
	quiet chan struct{} // of one: the last stream has left
}

func newStreams(limit int) *streams {
	return &streams{max: int64(limit), quiet: make(chan struct{}, 1)}
}

// calls tells for how long nobody has called.
type calls struct {
	running atomic.Int64
	ended   atomic.Int64 // when the last one did, in nanoseconds of the monotonic clock since began
	began   time.Time
}

// enter counts one call in; leave must follow.
func (c *calls) enter() { c.running.Add(1) }

func (c *calls) leave() {
	c.ended.Store(int64(time.Since(c.began)))
	c.running.Add(-1)
}

func (c *calls) idle() time.Duration {
	if c.running.Load() > 0 {
		return 0
	}
	return time.Since(c.began) - time.Duration(c.ended.Load())
}

// idleAfter is how long nothing has to run before memory goes back to the system.
const idleAfter = 5 * time.Second

// leave counts a stream out.
func (c *streams) leave() {
	if c.open.Add(-1) > 0 {
		return
	}
	select {
	case c.quiet <- struct{}{}:
	default: // somebody has said so already
	}
}

// tidy gives memory back to the system when the last stream has been gone for a
// while, until done: nothing allocates any more then, so that pools and collector
// would keep what a busy hour gave them, which may be gigabytes.
func (c *streams) tidy(done <-chan struct{}) {
	for {
		select {
		case <-c.quiet:
		case <-done:
			return
		}
		select {
		case <-time.After(idleAfter):
		case <-done:
			return
		}
		if c.open.Load() == 0 {
			debug.FreeOSMemory() // moves the pools' buffers to the victims …
			debug.FreeOSMemory() // … and frees those
		}
	}
}

// enter counts one stream in, or answers busy. leave must follow.
func (c *streams) enter() (leave func(), err error) {
	if c.open.Add(1) > c.max {
		c.open.Add(-1)
		return nil, &source.Error{Op: "open stream", Kind: source.KindBusy, Msg: "the server's stream limit is reached",
			Hint: "try again, or raise server.max_streams", RetryAfter: time.Second}
	}
	return c.leave, nil
}

// await runs one blocking exchange with the peer: a Send or a Recv.
type await func(exchange func() error) error

// watched runs work and gives up on it when one exchange with the peer takes
// longer than idle. Only the waits that work passes through await count: time
// that the server itself spends is not the peer's fault.
//
// A grpc Send or Recv that waits for the peer cannot be interrupted from the
// handler, except by the handler's return: so work runs on its own goroutine,
// which owns everything it uses, and outlives this call only for as long as grpc
// takes to fail its pending message.
func watched(ctx context.Context, op string, idle time.Duration, work func(context.Context, await) error) error {
	return interruptible(ctx, op, idle, nil, work)
}

// interruptible is watched for work that may have a reason of its own not to wait for
// the peer any longer: what comes out of quit ends the call too.
func interruptible(ctx context.Context, op string, idle time.Duration, quit <-chan error, work func(context.Context, await) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	expired := make(chan struct{})
	expire := sync.OnceFunc(func() { close(expired) })
	wait := func(exchange func() error) error {
		timer := time.AfterFunc(idle, expire)
		defer timer.Stop()
		return exchange()
	}
	done := make(chan error, 1)
	go func() { done <- guard(func() error { return work(ctx, wait) }) }()
	select {
	case err := <-done:
		return err
	case err := <-quit:
		return err
	case <-expired:
		return source.Errorf(source.KindDeadline, op, "the client made no progress for %s", idle)
	}
}
