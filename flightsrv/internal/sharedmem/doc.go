// Package sharedmem is memory that one stream's two ends share, so that the bodies
// of its batches need not pass a socket: an option between processes of one user on
// one machine, and only on Linux. Everywhere else New and Attach say
// errors.ErrUnsupported, and streams are plain Flight.
//
// # The flow
//
// The one who makes a segment sends its Announcement and puts batches into slots
// with a Sender (reading: the server) or takes them from there with a Receiver
// (writing: the client makes the segment and sends). A message of the stream then
// holds a Place instead of a batch:
//
//	New       →  Announcement  →  Attach
//	Put       →  Place         →  Message … Free
//
// A segment is a page of control words, then slots of equal size. A slot holds one
// encapsulated IPC record batch message. Its word says whether it is in use: the
// sender sets it before it announces the slot, the receiver clears it when nothing
// refers to the slot's memory any more, and nobody else writes it.
//
// # Invariants
//
//   - It can only make things faster: whoever finds that something is missing, too
//     small or in use goes on with ordinary messages.
//   - A segment is anonymous memory: it has no name in a file system, and nothing
//     is left of it when its processes end, however they end.
//   - Its size is sealed before anybody else can open it, and its sender reserves
//     the memory of what it writes, so that no access of either side faults.
//   - Nothing of a foreign descriptor is read before its owner, size, seals and
//     nonce are those announced: process numbers may mean other processes where
//     containers share a socket.
//   - A Sender and a Receiver belong to one goroutine each. After Close nothing may
//     refer to the memory.
//
// What it does not do: protect two processes of one user from one another, who can
// read and change each other anyway; check batches (source/ipcguard does).
package sharedmem
