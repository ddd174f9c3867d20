package flightsrv

import "net"

// unixSendBuffer is how many bytes a unix socket holds for a client that is at
// work on what came before (the system may double it, or give less). Of its default
// of some 200 KiB a full write fits in pieces of half of that, and each wakes both
// sides: with this there are a third as many changes between them. Much more makes
// the client's reads so large that its memory no longer fits the processor's caches.
const unixSendBuffer = 512 << 10

// roomy is a listener whose unix connections have a larger send buffer. TCP sizes
// its own.
type roomy struct{ net.Listener }

// Accept implements net.Listener.
func (l roomy) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if unix, ok := conn.(*net.UnixConn); ok {
		_ = unix.SetWriteBuffer(unixSendBuffer) // slower without, no worse
	}
	return conn, err
}
