// Package hub is the HTTP client of the Hugging Face Hub, for dataset
// repositories: a source.Store for reading, and the calls from which a commit is
// made for writing.
//
// Reading flows like this:
//
//	Resolve   branch → commit            GET  /api/datasets/{id}/revision/{rev}
//	Files     commit → paged listing     GET  /api/datasets/{id}/tree/{sha}
//	Open      file → confirmed location  HEAD /datasets/{id}/resolve/{sha}/{path}
//	ReadAt    ranges                     GET  the location, mostly a signed URL
//
// Writing: CreateRepo, Preupload, UploadLFS, Commit. Everything before Commit is
// invisible to readers of the repository.
//
// Every request goes through the layers of newTransport, in transport.go, where
// each layer says why it sits where it does.
//
// Invariants:
//
//   - A token is sent to the origin (scheme, host and port) of the endpoint
//     and nowhere else. It is put on a request in one place, signing.RoundTrip,
//     which looks at the address the request is about to go to. Redirects are
//     followed by hand, so each hop is a new decision.
//   - Nothing is read without limit: pages, error texts, headers, hops, entries.
//     Passing a limit is an error, never a truncation.
//   - Bytes are accepted only from an answer whose Content-Range is exactly what
//     was asked for, of a file whose identity the Hub confirmed to this caller.
//   - Only what is safe to repeat is repeated. A commit is sent once; if its
//     answer is lost, that is KindUnknownOutcome.
//   - Addresses that come from the network (redirects, upload links, next pages)
//     never lead to plain http from https, nor into private networks, unless
//     the endpoint itself is there.
//
// What it does not do: Xet (the Hub serves and takes all files over plain HTTP),
// caching of bytes (rangeio), deciding which files a dataset consists of
// (dataset), deciding what to do after a conflict (writer).
package hub
