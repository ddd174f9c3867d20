package client

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hubflight/hubflight/source"
)

func TestAServerAddressSaysWhereAndHowSafely(t *testing.T) {
	for _, c := range []struct {
		server, target string
		private        bool
	}{
		{"grpc://127.0.0.1:8815", "dns:///127.0.0.1:8815", true},
		{"grpc://127.9.9.9:1", "dns:///127.9.9.9:1", true},
		{"grpc://localhost:1", "dns:///localhost:1", true},
		{"grpc://[::1]:1", "dns:///[::1]:1", true},
		{"grpc+tcp://localhost:1", "dns:///localhost:1", true},
		{"grpc://data.example.com:8815", "dns:///data.example.com:8815", false},
		{"grpc://127.0.0.1.example.com:1", "dns:///127.0.0.1.example.com:1", false}, // a name that looks like loopback
		{"grpc://localhost.example.com:1", "dns:///localhost.example.com:1", false},
		{"grpc://192.168.0.7:1", "dns:///192.168.0.7:1", false},
		{"grpc://0.0.0.0:1", "dns:///0.0.0.0:1", false},
		{"grpc+tls://data.example.com:443", "dns:///data.example.com:443", true},
		{"grpc+unix:///run/hubflight.sock", "unix:///run/hubflight.sock", true},
	} {
		target, _, private, err := parseServer(c.server, nil)
		if err != nil || target != c.target || private != c.private {
			t.Errorf("%s: got %s, private %t, %v; want %s, private %t", c.server, target, private, err, c.target, c.private)
		}
	}
	for _, server := range []string{
		"", "127.0.0.1:8815", "localhost", "http://localhost:1", "grpc://", "grpc://localhost", "grpc://:8815", "grpc://localhost:1/path",
		"grpc+unix://run/hubflight.sock", "grpc+unix://", "grpc://user:hf_canarycanarycanary@localhost:1", "grpc://localhost:1?token=hf_canarycanarycanary", "grpc://[::1", "grpc://localhost:port",
	} {
		target, _, _, err := parseServer(server, nil)
		if source.KindOf(err) != source.KindInvalid || !strings.Contains(err.Error(), "grpc+unix:///path") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %q, %v", server, target, err)
		}
	}
}

func TestAHubTokenDoesNotTravelInPlainTextToAnotherMachine(t *testing.T) {
	token := source.NewHubToken("hf_canarycanarycanary")
	for server, ok := range map[string]bool{
		"grpc://data.example.com:8815": false, "grpc://10.0.0.1:8815": false, "grpc://127.evil.example.com:1": false,
		"grpc://127.0.0.1:8815": true, "grpc+tls://data.example.com:8815": true, "grpc+unix:///run/s": true,
	} {
		c, err := Dial(t.Context(), server, Options{HubToken: token})
		if (err == nil) != ok || (err != nil && strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v", server, err)
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestAStatusBecomesTheServersError(t *testing.T) {
	busy, err := status.New(codes.Unavailable, "[busy] open stream: full: try again (retry after 3s) (request 7)").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(2500 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	e := source.AsError("", fromStatus("read", busy.Err()))
	if e.Kind != source.KindBusy || e.RetryAfter != 2500*time.Millisecond || strings.Count(e.Error(), "retry after") != 1 {
		t.Errorf("got %v (retry after %s)", e, e.RetryAfter)
	}
	if wait, again := retryWait(e, 0); !again || wait < e.RetryAfter || wait > 2*e.RetryAfter {
		t.Errorf("waits %s, again %t", wait, again)
	}
	for code, want := range map[codes.Code]source.Kind{codes.Unavailable: source.KindUpstream, codes.Canceled: source.KindCanceled, codes.ResourceExhausted: source.KindLimit, codes.Unknown: source.KindInternal} {
		if got := source.KindOf(fromStatus("read", status.Error(code, "transport"))); got != want {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
	}
}

func TestAServerThatIsNotThereIsSaidWithWhatToDo(t *testing.T) {
	for _, server := range []string{"grpc://127.0.0.1:1", "grpc+unix://" + t.TempDir() + "/s"} {
		c, err := Dial(t.Context(), server, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _, err = c.Splits(t.Context(), "ns/name", "")
		text := strings.TrimPrefix(fmt.Sprint(err), "[upstream] splits: no server answers: dial ")
		if source.KindOf(err) != source.KindUpstream || text == fmt.Sprint(err) || strings.Contains(text, "transport") || !strings.HasSuffix(text, ": is it running, and is its address right? hubflight serve starts one") {
			t.Errorf("%s: %v", server, err)
		}
	}
}

func TestWaitsGrowAndOnlyPassingTroubleIsTriedAgain(t *testing.T) {
	upstream := source.Errorf(source.KindUpstream, "read", "gone")
	last := time.Duration(0)
	for attempt := range 40 {
		wait, again := retryWait(upstream, attempt)
		if !again || wait < min(100*time.Millisecond<<min(attempt, 10), 10*time.Second) || wait > 15*time.Second {
			t.Errorf("attempt %d: %s, %t", attempt, wait, again)
		}
		last = wait
	}
	if last < 10*time.Second {
		t.Errorf("the longest wait is %s", last)
	}
	for _, kind := range []source.Kind{source.KindInvalid, source.KindChanged, source.KindCorrupt, source.KindDenied, source.KindInternal} {
		if _, again := retryWait(source.Errorf(kind, "read", "no"), 0); again {
			t.Errorf("%s is tried again", kind)
		}
	}
}

// A server that is broken may ask for a wait that no clock can add up, or that is over.
func TestNoServersWishForAWaitIsTakenForNone(t *testing.T) {
	for _, asked := range []*durationpb.Duration{{Seconds: -5}, {Seconds: 315_576_000_000}, {Seconds: math.MinInt64}, {Seconds: math.MaxInt64}} {
		busy, err := status.New(codes.Unavailable, "[busy] open stream: full").WithDetails(&errdetails.RetryInfo{RetryDelay: asked})
		if err != nil {
			t.Fatal(err)
		}
		wait, again := retryWait(fromStatus("read", busy.Err()), 0)
		if !again || wait < 100*time.Millisecond || wait > 2*longestWait {
			t.Errorf("asked to wait for %v it waits %s, again: %t", asked, wait, again)
		}
	}
}

// What readers had queued is released before the scan is over.
func TestNothingIsReleasedBehindTheEndOfAScan(t *testing.T) {
	parts := make([]Partition, 3)
	for name, merge := range map[string]func(ctx context.Context, running *sync.WaitGroup, read func(Partition, chan<- result), yield func(result) bool){
		"ordered": func(_ context.Context, running *sync.WaitGroup, read func(Partition, chan<- result), yield func(result) bool) {
			ordered(parts, len(parts), running, read, yield)
		},
		"as they come": func(ctx context.Context, running *sync.WaitGroup, read func(Partition, chan<- result), yield func(result) bool) {
			unordered(ctx, parts, len(parts), running, read, yield)
		},
	} {
		for range 20 {
			alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			read := func(_ Partition, out chan<- result) {
				for ctx.Err() == nil {
					b := array.NewInt64Builder(alloc)
					b.Append(1)
					column := b.NewArray()
					rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil), []arrow.Array{column}, 1)
					column.Release()
					b.Release()
					if !send(ctx, out, result{rec: rec}) {
						rec.Release()
					}
				}
			}
			merge(ctx, &running, read, func(r result) bool { r.rec.Release(); return false })
			cancel()
			running.Wait()
			if left := alloc.CurrentAlloc(); left != 0 {
				t.Fatalf("%s: %d bytes are left", name, left)
			}
		}
	}
}
