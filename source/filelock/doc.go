// Package filelock locks files between processes.
//
// A lock belongs to an open file and ends when that file is closed or its process
// dies, however it dies: nothing has to be cleaned up. It excludes other
// processes and other opens of the same process alike. It is advice: only those
// who ask for the lock are kept out.
//
// Who removes a lock's file with the lock, or whose folder others clean up, asks
// LeadsTo once the lock is held: the lock of a file that its path no longer leads to
// keeps nobody out.
//
// The package does not wait with a deadline and does not share locks; who needs
// that polls TryLock.
package filelock
