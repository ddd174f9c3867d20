package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every connection with what it says, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// through starts a link to the target and gives the address to use instead.
func through(t *testing.T, l link) string {
	t.Helper()
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func ask(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := conn.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func TestTheFirstAnswerTakesTwoRoundTripsAndLaterOnesTakeOne(t *testing.T) {
	const rtt = 60 * time.Millisecond
	address := through(t, link{target: echo(t), rtt: rtt, buffer: 1 << 20})
	began := time.Now()
	conn := dial(t, address)
	ask(t, conn)
	first, second := time.Since(began), ask(t, conn)
	if first < 2*rtt {
		t.Errorf("the first answer came after %v, before two round trips of %v", first, rtt)
	}
	// The upper bound is generous: the machine may be busy.
	if second < rtt || second > first+rtt {
		t.Errorf("a later answer took %v, with round trips of %v", second, rtt)
	}
}

func TestManyBytesKeepTheirOrderAndAreNotSlowedDownByTheDelay(t *testing.T) {
	const size, rtt = 32 << 20, time.Second
	conn := dial(t, through(t, link{target: echo(t), rtt: rtt, buffer: 16 << 20}))
	want, got := sha256.New(), sha256.New()
	began := time.Now()
	go func() {
		chance := rand.NewChaCha8([32]byte{1})
		block := make([]byte, 1<<20)
		for range size / len(block) {
			_, _ = chance.Read(block) // never fails
			want.Write(block)
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}()
	if _, err := io.CopyN(got, conn, size); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("the bytes came back changed or in another order")
	}
	// Waiting for each piece in turn would take above two minutes, and the deadline of dial is 20 s.
	if took := time.Since(began); took > size/pieceBytes*rtt/4 {
		t.Errorf("%d bytes took %v: the delay is paid per piece", size, took)
	}
}

func TestConnectionsShareTheLine(t *testing.T) {
	const rate, each, connections = 8 << 20, 2 << 20, 2
	address := through(t, link{target: echo(t), buffer: 1 << 20, line: &line{bytesPerSecond: rate}})
	began := time.Now()
	done := make(chan error, connections)
	for range connections {
		conn := dial(t, address)
		go func() { _, _ = conn.Write(make([]byte, each)) }()
		go func() {
			_, err := io.CopyN(io.Discard, conn, each)
			done <- err
		}()
	}
	for range connections {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	// Only the lower bound is the line's: a busy machine is slower.
	if took, least := time.Since(began), time.Second*each*connections/rate; took < least*9/10 {
		t.Errorf("%d bytes took %v over a line that needs %v", each*connections, took, least)
	}
}

func TestAnEndOfOneDirectionIsPassedOnBehindItsBytes(t *testing.T) {
	conn := dial(t, through(t, link{target: echo(t), rtt: 10 * time.Millisecond, buffer: 1 << 20}))
	if _, err := conn.Write([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "all of it" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAClientThatTakesNothingHoldsUpItsSenderOnly(t *testing.T) {
	address := through(t, link{target: echo(t), rtt: 0, buffer: 1 << 20})
	stalled := dial(t, address)
	if err := stalled.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	var sent int
	for {
		n, err := stalled.Write(make([]byte, 1<<20))
		sent += n
		if err != nil {
			break
		}
		if sent > 512<<20 {
			t.Fatal("half a gigabyte is on its way to a client that reads nothing")
		}
	}
	ask(t, dial(t, address))
}

func TestATargetThatDoesNotListenEndsTheConnection(t *testing.T) {
	conn := dial(t, through(t, link{target: "127.0.0.1:1", buffer: 1 << 20}))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes from nowhere", n)
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for name, l := range map[string]link{
		"no target":     {buffer: 1 << 20},
		"negative time": {target: "127.0.0.1:1", rtt: -1, buffer: 1 << 20},
		"no room":       {target: "127.0.0.1:1"},
		"no width":      {target: "127.0.0.1:1", buffer: 1 << 20, line: &line{}},
	} {
		if l.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
