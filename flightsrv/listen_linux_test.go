package flightsrv_test

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
)

// noted passes on what it accepts, and what that is.
type noted struct {
	net.Listener
	accepted chan net.Conn
}

func (l noted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- conn
	}
	return conn, err
}

func sendBuffer(t *testing.T, conn syscall.Conn) (bytes int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var asked error
	err = raw.Control(func(fd uintptr) {
		bytes, asked = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF) //nolint:gosec // descriptors are small
	})
	if err != nil || asked != nil {
		t.Fatal(err, asked)
	}
	return bytes
}

func TestAClientOfThisMachineIsSentMoreAtATimeThanItsSocketHoldsByItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	lis, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := flightsrv.New(flightsrv.Options{Auth: flightsrv.Auth{Mode: flightsrv.AuthNone}})
	l := noted{lis, make(chan net.Conn, 1)}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		srv.Drain(0)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial(t.Context(), "grpc+unix://"+path, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := <-l.accepted
	// The listener's own is the system's default, which what it accepts begins with.
	unix, ok := lis.(*net.UnixListener)
	if !ok {
		t.Fatalf("a unix listener is a %T", lis)
	}
	usual, got := sendBuffer(t, unix), sendBuffer(t, conn.(*net.UnixConn))
	if t.Logf("%d bytes, by itself %d", got, usual); got <= usual {
		t.Errorf("the socket holds %d bytes; by itself it would hold %d", got, usual)
	}
}
