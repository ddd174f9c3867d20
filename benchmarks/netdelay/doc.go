// Command netdelay makes a loopback connection as slow to answer as a distant
// one: it accepts at one address, connects to another and passes the bytes of
// each direction on half a round trip later.
//
//	netdelay -listen 127.0.0.1:9001 -target 127.0.0.1:9000 -rtt 30ms
//
// Flow: one goroutine per direction reads and notes when each piece may leave,
// another waits for that moment and writes it. The wait is counted from the
// arrival, so pieces behind each other travel together and bandwidth is that of
// loopback.
//
// Opening a connection costs one round trip too: the accepting side answers
// SYN at once, so the first bytes of the client are held back by a whole round
// trip more.
//
// With -rate the answers of all connections share a line of that many bytes per
// second; requests do not, because they are small.
//
// Invariants: bytes keep their order; a direction holds at most -buffer bytes on
// their way, then its sender is made to wait; an end of one direction is passed
// on after the bytes before it. It does not lose or reorder packets, and
// it does not imitate slow start.
package main
