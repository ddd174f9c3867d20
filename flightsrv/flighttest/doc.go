// Package flighttest runs the real service inside a test: planner, writer, Flight
// server on a loopback port, the embedded Hub when the test has repositories, a
// folder that is a local root. Nothing is mocked.
//
//	f := flighttest.New(t, flighttest.Hub(hubtest.Dataset("ns/name", files)))
//	d := f.Client.Dataset(client.Read{Dataset: "ns/name"})
package flighttest
