// Package failpoint marks the steps of the write protocol, so that tests can kill a
// server between any two of them. In a build without the tag faults Here does
// nothing and costs nothing.
//
// With the tag, the environment variable HUBFLIGHT_FAILPOINT names a file. Whenever
// the file says
//
//	<n> <point>
//
// the process kills itself, as kill -9 does, when it comes by that point for the
// n-th time since the file was written. The file is read each time, so that one
// server serves many runs.
//
// What it does not do: it makes no errors. Those come from the Hub that the tests
// run against, and from real folders and disks. And it has no places inside the
// client for the Hub, which knows nothing of it: around a request it is that Hub which
// kills the server.
package failpoint
