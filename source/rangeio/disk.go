package rangeio

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubflight/hubflight/source"
)

// An entry is a file <two hex digits>/<key>/<offset>-<length>, all in hex, the key
// being a cacheKey. It begins with a header of
//
//	magic "HFRANGE1" | key, 32 bytes | offset u64 | length u64 | CRC-32C of each
//	64 KiB of the data, u32 each | CRC-32C of all that comes before it, u32
//
// and ends with the data. Numbers are little-endian.
const (
	magic       = "HFRANGE1"
	fixedHeader = len(magic) + 32 + 8 + 8
	sumSpan     = 64 << 10
	// maxEntry bounds what a name may claim.
	maxEntry = 1 << 30

	versionDir  = "hubflight-ranges-v1"
	tempPrefix  = ".new-"
	staleTemp   = time.Hour
	touchAfter  = time.Minute // an entry's time of last use is kept this roughly
	retryWrites = time.Minute // after a failed write
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	entryName  = regexp.MustCompile(`^([0-9a-f]{1,16})-([0-9a-f]{1,16})$`)
	keyName    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// cacheKey stands for a whole file's content: its sha256, as one origin says.
type cacheKey [32]byte

// keyOf returns the key of a file, zero for one that is not cached: git's blob
// ids are no match for somebody who wants two files to share one.
func keyOf(origin string, f source.File) cacheKey {
	var k cacheKey
	if len(f.OID) != 2*len(k) || f.OID != strings.ToLower(f.OID) {
		return cacheKey{}
	}
	if _, err := hex.Decode(k[:], []byte(f.OID)); err != nil {
		return cacheKey{}
	}
	if origin != "" {
		k = sha256.Sum256(append([]byte(origin+"\x00"), k[:]...))
	}
	return k
}

func (k cacheKey) dir() string {
	name := hex.EncodeToString(k[:])
	return versionDir + "/" + name[:2] + "/" + name
}

// Disk keeps ranges of files in a folder, which several processes may share.
// Entries are never changed: they appear whole by a rename, and are removed when
// they turn out to be damaged, foreign, or the ones used longest ago when the
// folder is over its size or its file system full. A cache that does not work is a slow one, never an
// error. It is safe for concurrent use and starts no goroutine.
type Disk struct {
	root *os.Root
	max  int64
	log  *slog.Logger

	mu      sync.Mutex
	used    int64     // of the folder at the last look, and written since
	written int64     // since the last look
	pause   time.Time // no writes before
	evict   sync.Mutex
}

// OpenDisk opens a cache of at most maxBytes in dir, which is made if need be,
// private to this user. A folder that others can write to is refused: they could
// plant what they like.
func OpenDisk(dir string, maxBytes int64, log *slog.Logger) (*Disk, error) {
	if maxBytes <= 0 {
		return nil, source.Errorf(source.KindInvalid, "open cache", "the size must be positive")
	}
	fail := func(err error) (*Disk, error) {
		return nil, source.Errorf(source.KindInvalid, "open cache", "%w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Disk{root: root, max: maxBytes, log: log}
	info, err := root.Stat(".")
	if err == nil {
		err = private(info)
	}
	if err == nil {
		err = root.MkdirAll(versionDir, 0o700)
	}
	if err != nil {
		return fail(errors.Join(err, root.Close()))
	}
	d.look(false)
	return d, nil
}

// Close lets go of the folder.
func (d *Disk) Close() error { return d.root.Close() }

// get fills p with the bytes from off, possibly of several entries, or reports
// that it cannot.
func (d *Disk) get(k cacheKey, off int64, p []byte) bool {
	dir := k.dir()
	entries := d.entries(dir)
	for len(p) > 0 {
		best := Range{}
		for _, e := range entries {
			if e.Off <= off && e.End() > off && e.End() > best.End() {
				best = e
			}
		}
		if best.Len == 0 {
			return false
		}
		n := min(int64(len(p)), best.End()-off)
		name := dir + "/" + nameOf(best)
		if err := d.read(name, k, best, off, p[:n]); err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // else another process removed it
				d.log.Warn("a damaged entry of the cache is removed", "entry", name, "error", err)
				d.remove(name)
			}
			entries = slices.DeleteFunc(entries, func(e Range) bool { return e == best })
			continue
		}
		p, off = p[n:], off+n
	}
	return true
}

func nameOf(r Range) string {
	return strconv.FormatInt(r.Off, 16) + "-" + strconv.FormatInt(r.Len, 16)
}

// entries lists what there is of one file.
func (d *Disk) entries(dir string) []Range {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // read only
	names, _ := f.Readdirnames(-1)   // what could be listed is good
	var out []Range
	for _, name := range names {
		if r, ok := parseName(name); ok {
			out = append(out, r)
		}
	}
	return out
}

func parseName(name string) (Range, bool) {
	m := entryName.FindStringSubmatch(name)
	if m == nil {
		return Range{}, false
	}
	off, err1 := strconv.ParseInt(m[1], 16, 64)
	n, err2 := strconv.ParseInt(m[2], 16, 64)
	r := Range{off, n}
	return r, err1 == nil && err2 == nil && n > 0 && n <= maxEntry && r.End() > off && nameOf(r) == name
}

// read fills p from an entry, verifying every byte that it uses.
func (d *Disk) read(name string, k cacheKey, e Range, off int64, p []byte) error {
	info, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	header := headerSize(e.Len)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is no file")
	case info.Size() != header+e.Len:
		return errors.New("its length is wrong")
	}
	if err := owned(info); err != nil {
		return err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	head := make([]byte, header)
	if _, err := io.ReadFull(f, head); err != nil {
		return err
	}
	sums, err := checkHeader(head, k, e)
	if err != nil {
		return err
	}
	first := (off - e.Off) / sumSpan
	last := (off - e.Off + int64(len(p)) - 1) / sumSpan
	span := make([]byte, sumSpan)
	for i := first; i <= last; i++ {
		from := i * sumSpan
		part := span[:min(sumSpan, e.Len-from)]
		at := e.Off + from // of the file
		// A span that p holds whole is read into p.
		inPlace := at >= off && at+int64(len(part)) <= off+int64(len(p))
		if inPlace {
			part = p[at-off:][:len(part)]
		}
		if _, err := f.ReadAt(part, header+from); err != nil {
			return err
		}
		if crc32.Checksum(part, castagnoli) != binary.LittleEndian.Uint32(sums[4*i:]) {
			return errors.New("a checksum is wrong")
		}
		if !inPlace {
			lo, hi := max(at, off), min(at+int64(len(part)), off+int64(len(p)))
			copy(p[lo-off:hi-off], part[lo-at:])
		}
	}
	if time.Since(info.ModTime()) > touchAfter {
		now := time.Now()
		_ = d.root.Chtimes(name, now, now) // only the order of eviction depends on it
	}
	return nil
}

func headerSize(n int64) int64 { return int64(fixedHeader) + (n+sumSpan-1)/sumSpan*4 + 4 }

func makeHeader(k cacheKey, off int64, p []byte) []byte {
	head := make([]byte, 0, headerSize(int64(len(p))))
	head = append(append(head, magic...), k[:]...)
	head = binary.LittleEndian.AppendUint64(head, uint64(off))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(p)))
	for part := range slices.Chunk(p, sumSpan) {
		head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(part, castagnoli))
	}
	return binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
}

// checkHeader returns the checksums of the data.
func checkHeader(head []byte, k cacheKey, e Range) ([]byte, error) {
	body := head[:len(head)-4]
	switch {
	case string(head[:len(magic)]) != magic:
		return nil, errors.New("it is no entry of this cache")
	case crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(head[len(body):]):
		return nil, errors.New("its header's checksum is wrong")
	case cacheKey(head[len(magic):][:32]) != k,
		binary.LittleEndian.Uint64(head[len(magic)+32:]) != uint64(e.Off),
		binary.LittleEndian.Uint64(head[len(magic)+40:]) != uint64(e.Len):
		return nil, errors.New("it is of other bytes than its name says")
	}
	return body[fixedHeader:], nil
}

// put keeps p, the bytes from off. Failing is no error: there is just no entry.
func (d *Disk) put(k cacheKey, off int64, p []byte) {
	size := headerSize(int64(len(p))) + int64(len(p))
	d.mu.Lock()
	paused := time.Now().Before(d.pause)
	d.mu.Unlock()
	if paused || len(p) == 0 || size > d.max/4 || int64(len(p)) > maxEntry {
		return
	}
	err := d.write(k.dir(), nameOf(Range{off, int64(len(p))}), makeHeader(k, off, p), p)
	// The folder may have been removed with its last entry in the same moment.
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("the cache cannot be written to", "error", err)
		d.mu.Lock()
		d.pause = time.Now().Add(retryWrites)
		d.mu.Unlock()
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			d.look(true)
		}
		return
	}
	if err == nil {
		d.grown(size)
	}
}

// write makes an entry appear whole, or not at all. There is no fsync: what a
// power cut leaves of an entry is found out by its checksums.
func (d *Disk) write(dir, name string, parts ...[]byte) (err error) {
	if err := d.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := d.root.Lstat(dir + "/" + name); err == nil {
		return fs.ErrExist
	}
	temp := dir + "/" + tempPrefix + strconv.FormatUint(rand.Uint64(), 16)
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err == nil {
			_, err = f.Write(part)
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = d.root.Rename(temp, dir+"/"+name)
	}
	if err != nil {
		_ = d.root.Remove(temp) // else it is removed when it is old
		return err
	}
	return nil
}

func (d *Disk) remove(name string) {
	if err := d.root.RemoveAll(name); err != nil {
		d.log.Warn("an entry of the cache cannot be removed", "entry", name, "error", err)
	}
}

// grown accounts for a new entry, and makes room when it is time to.
func (d *Disk) grown(n int64) {
	d.mu.Lock()
	d.used += n
	d.written += n
	// Other processes write too: after some writing, look how much there is.
	due := d.used > d.max || d.written > d.max/16
	d.mu.Unlock()
	if due {
		d.look(false)
	}
}

type entryOnDisk struct {
	name string
	size int64
	used time.Time
}

// look counts what is in the folder and removes what is too much: entries used
// longest ago first, down to nine tenths, and of what is there if the file system is
// full, which others need as well.
func (d *Disk) look(full bool) {
	if !d.evict.TryLock() {
		return // somebody is at it
	}
	defer d.evict.Unlock()
	entries, total := d.walk()
	most := d.max
	if full {
		most = min(most, total)
	}
	if total > d.max || full {
		slices.SortFunc(entries, func(a, b entryOnDisk) int { return a.used.Compare(b.used) })
		for _, e := range entries {
			if total <= most/10*9 {
				break
			}
			d.remove(e.name)
			_ = d.root.Remove(filepath.ToSlash(filepath.Dir(e.name))) // refused unless it was the last
			total -= e.size
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used, d.written = total, 0
}

// walk lists the entries. What is none, as what writers left half-done, is removed
// once it is old.
func (d *Disk) walk() (entries []entryOnDisk, total int64) {
	// Errors are of entries that another process has just removed, or of folders
	// that will fail again when they are used.
	_ = fs.WalkDir(d.root.FS(), versionDir, func(name string, at fs.DirEntry, err error) error {
		if err != nil || at.IsDir() {
			return nil //nolint:nilerr // see above
		}
		info, err := at.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		base := filepath.Base(name)
		_, ours := parseName(base)
		if ours = ours && keyName.MatchString(filepath.Base(filepath.Dir(name))); !ours && time.Since(info.ModTime()) > staleTemp {
			d.remove(name)
			return nil
		}
		total += info.Size()
		if ours {
			entries = append(entries, entryOnDisk{name, info.Size(), info.ModTime()})
		}
		return nil
	})
	return entries, total
}
