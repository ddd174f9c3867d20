package hubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxPointer is the largest blob that can be an LFS pointer; git-lfs has the
// same bound.
const maxPointer = 1024

const pointerVersion = "version https://git-lfs.github.com/spec/v1\n"

// formatPointer is git-lfs's pointer file.
func formatPointer(oid string, size int64) []byte {
	return fmt.Appendf(nil, "%soid sha256:%s\nsize %d\n", pointerVersion, oid, size)
}

func parsePointer(raw []byte) (oid string, size int64, ok bool) {
	rest, found := strings.CutPrefix(string(raw), pointerVersion)
	if !found {
		return "", 0, false
	}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			oid = strings.TrimPrefix(value, "sha256:")
		case "size":
			var err error
			if size, err = strconv.ParseInt(value, 10, 64); err != nil {
				return "", 0, false
			}
		}
	}
	return oid, size, isHex(oid, 64) && size >= 0
}

func (r *repo) lfsPath(oid string) string {
	return filepath.Join(r.dir, "lfs", "objects", oid[:2], oid[2:4], oid)
}

// lfsSize returns the size of a stored object; ok is false if it is not stored
// in this repository.
func (r *repo) lfsSize(oid string) (size int64, ok bool, err error) {
	if !isHex(oid, 64) {
		return 0, false, nil
	}
	info, err := os.Stat(r.lfsPath(oid))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// storeLFS keeps what body holds if its sha256 is oid ("" accepts any), and
// returns the sha256 and the size it found. Wrong bytes are dropped without an
// error, because a storage origin does not know what it was to be given.
func (r *repo) storeLFS(body io.Reader, oid string) (got string, size int64, err error) {
	file, err := r.files.temp()
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(file.Name()) // gone after the rename
	sum := sha256.New()
	if size, err = io.Copy(io.MultiWriter(file, sum), body); err != nil {
		file.Close()
		return "", 0, err
	}
	got = hex.EncodeToString(sum.Sum(nil))
	if oid != "" && got != oid {
		return got, size, file.Close()
	}
	return got, size, r.files.place(file, r.lfsPath(got))
}

// openContent opens what a file of the tree holds: the LFS object, or the
// blob's bytes.
func (r *repo) openContent(e entry) (io.ReadSeekCloser, error) {
	if e.lfs != "" {
		return os.Open(r.lfsPath(e.lfs))
	}
	raw, err := r.objects.read(kindBlob, e.oid)
	if err != nil {
		return nil, err
	}
	return memory{bytes.NewReader(raw)}, nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
