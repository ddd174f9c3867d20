// Package hubtest is a Hub: a real HTTP server that keeps dataset repositories
// in a folder and speaks the Hugging Face Hub's protocol. Tests run the client
// and the writer against it, `hubflight hub` runs it for demos and for people
// without internet, and the official huggingface_hub and datasets libraries keep
// it honest (pyclient/tests/test_embedded_hub.py).
//
// # Flow
//
// A Hub has three origins, as the real one has. Handler answers the API, the web
// routes and the resolve routes; plain git files are served there, behind a
// relative redirect. CDN is the storage origin: LFS objects are read from it and
// written to it with signed, short-lived URLs, and it refuses a request that
// carries a bearer token, so that a client that leaks one cannot go unnoticed.
// Viewer is the dataset viewer, which tells of the conversion to Parquet that is
// on refs/convert/parquet; it is also found below /datasets-server on the Hub.
//
//	request → records and faults (record.go, fault.go, misbehaviour.go)
//	        → quota (ratelimit.go) → route (server.go) → who is calling, may they (auth.go) → one handler per route
//	        → repo (repo.go, refs.go, tree.go, object.go, lfs.go)
//
// # Layout on disk
//
//	DIR/datasets/ns/name.git/        a bare git repository ("name.git" for ids without a namespace)
//	    HEAD, config
//	    objects/ab/cdef…             loose objects: genuine git blobs, trees, commits and tags
//	    refs/heads/main, refs/tags/…, refs/pr/1, refs/convert/parquet
//	    lfs/objects/ab/cd/abcdef…    LFS contents by sha256, where git-lfs keeps them
//	    lfs/incoming/ID/             parts of multipart uploads that are not complete
//	    discussions/1.json           discussions and pull requests
//	    hubflight.json               private, gated, disabled, creation time
//	    conversion.json              which commit was converted, and what the viewer says
//	    hubflight.lock               held (flock) while refs or discussions change
//	DIR/datasets/ns/old.moved        the id that a renamed repository has now
//	DIR/tmp/                         files and repositories being made
//
// Because the objects are git's own, `git log` and `git fsck` work in a
// repository's folder. Objects are never packed: do not run `git gc` there.
//
// # Invariants
//
//   - Objects are content-addressed, written to a temporary file, synced and
//     renamed; what exists is complete.
//   - A ref moves by temporary file, sync, rename and directory sync, under the
//     repository's lock, after everything it reaches is stored. A crash leaves
//     the old commit or the new one. Nothing is ever overwritten: history stays.
//   - The parentCommit of a commit is compared under that same lock: of two
//     commits on one parent exactly one lands, the other is told 412.
//   - An LFS object belongs to the repository it was uploaded to. A commit that
//     names one which is not stored there is refused.
//   - Commits are reproducible: the same tree, parents, author, date and message
//     give the same id. Options.Now fixes the date.
//   - Every request body has a cap, and exceeding it is an error.
//
// # Misbehaviour
//
// A Fault makes matching requests fail; a Script is a list of them, as text too
// (`hubflight hub --faults FILE`). What real servers do wrong is a Misbehaviour by
// name. FailOn gives each request of a run its turn, RandomScript makes scripts of
// a seed.
//
// # What it does not do
//
// It knows datasets only (no models, Spaces or buckets), does not speak Xet or
// git's own transport, and does not convert data to Parquet: it serves what was
// committed to refs/convert/parquet. Copies of LFS files between repositories
// (lfs-files/duplicate) need Xet and are not there. Discussions and pull requests are
// opened and listed, and a pull request takes commits; they are not commented, closed
// or merged.
package hubtest
