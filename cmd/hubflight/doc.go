// Command hubflight serves Hugging Face datasets and local folders over Arrow
// Flight.
//
// main.go runs the root command and turns errors into exit codes; there is one
// file per verb; wire.go is the only place where the parts are put together.
//
//	ls, schema, plan, count, cat, put, jobs
//	                      clients of a server: the one named by --server, or one
//	                      that runs inside the command for as long as it lasts
//	serve                 the Flight server
//	config print          the effective configuration and where it comes from
//	hub                   a stand-in Hub for demos and for machines without internet
//	embedded              the server that Python starts, one for each user (hidden)
//	version
//
// stdout is data, stderr is talk. Exit codes: 0 ok, 1 failed, 2 usage, 3 not
// found, 4 denied, 5 unknown commit outcome.
package main
