package source

import (
	"context"
	"crypto/sha1" // git's own ids, not a signature
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
)

// Snapshot is a dataset pinned: to a commit of a Hub repository, or to a digest
// of a local folder. Equal snapshots have equal files for ever.
type Snapshot struct {
	// Name is the canonical dataset name: "ns/name", or "file:///folder". A
	// renamed repository has its present name here.
	Name string
	// Revision is what the user asked for, or the default branch's name.
	Revision string
	// Commit is the immutable id: 40 hex digits of a git commit, or the hex
	// sha256 digest of a local folder's listing.
	Commit string
	// Local is true for a folder of this machine.
	Local bool
}

// Short returns "name@sha8", the form in which errors and logs name a dataset.
func (s Snapshot) Short() string {
	if len(s.Commit) < 8 {
		return s.Name
	}
	return s.Name + "@" + s.Commit[:8]
}

// File is one entry of a snapshot's tree and its identities.
type File struct {
	// At is the snapshot that the file belongs to.
	At Snapshot
	// Path is relative to the dataset, with slashes, unescaped.
	Path string
	// Size in bytes: of the file, never of an LFS pointer.
	Size int64
	// OID is the hex sha256 of the content where the origin knows it (LFS), else
	// empty.
	OID string
	// ETag identifies the content where there is no OID: the git blob id on the
	// Hub; inode, size and modification time for a local file.
	ETag string
}

// Identity returns what stands for the file's content in tickets and cache
// keys: the OID if there is one, else the ETag.
func (f File) Identity() string {
	if f.OID != "" {
		return f.OID
	}
	return f.ETag
}

// GitBlobID is the id that git gives to a file of these bytes, as 40 hex digits: its
// ETag on the Hub, unless it is an LFS file.
func GitBlobID(content []byte) string {
	h := sha1.New()
	_, _ = fmt.Fprintf(h, "blob %d\x00", len(content)) // a hash takes everything
	_, _ = h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

// Store reads one dataset repository or folder at fixed snapshots, with one
// caller's rights. It is safe for concurrent use. Errors unwrap to *Error.
type Store interface {
	// Resolve pins a revision (branch, tag, sha, refs/…; "" is the default
	// branch). A full sha costs no request.
	Resolve(ctx context.Context, revision string) (Snapshot, error)

	// Files lists the files below dir ("" is everything), recursively, in byte
	// order of their paths, without directories. At most one error is yielded,
	// as the last item. A dir that does not exist gives KindNotFound.
	Files(ctx context.Context, at Snapshot, dir string) iter.Seq2[File, error]

	// Open makes a Reader of one file. Reads fail with KindChanged if the
	// bytes are no longer those that f names.
	Open(ctx context.Context, f File) (Reader, error)
}

// Reader is a fixed byte sequence, safe for concurrent use.
type Reader interface {
	// ReadAt fills p entirely from offset off or fails: there are no short
	// reads, and no io.EOF.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Size is the length in bytes.
	Size() int64
	// Close gives back what the Reader holds. Reads after Close fail.
	Close() error
}

// ReadFile reads a small file whole; what is returned is not nil even if it is empty.
// A file of more than most bytes is KindLimit.
func ReadFile(ctx context.Context, s Store, f File, most int64) (raw []byte, err error) {
	refuse := func(size int64) error {
		return Errorf(KindLimit, "read file", "%d bytes; at most %d are read", size, most).WithFile(f.At.Short(), f.Path)
	}
	if f.Size > most {
		return nil, refuse(f.Size)
	}
	r, err := s.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if r.Size() > most {
		return nil, refuse(r.Size())
	}
	raw = make([]byte, r.Size())
	if len(raw) == 0 {
		return raw, nil
	}
	return raw, r.ReadAt(ctx, raw, 0)
}
