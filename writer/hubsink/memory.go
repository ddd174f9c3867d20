package hubsink

import (
	"context"
	"iter"
	"sync"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub"
	"github.com/hubflight/hubflight/writer"
)

const (
	// maxListed bounds the files of all listings together, about 15 MB.
	maxListed = 50_000
	// maxText is the largest text that is kept; maxTexts bounds their number.
	maxText, maxTexts = 256 << 10, 64
	// maxModes bounds the answers about how files are kept, maxHeads the branches.
	maxModes, maxHeads = 1024, 1024
)

// Memory is what the sinks of one process remember of the Hub's answers: those that
// cannot change, how it keeps the files of a job, and where branches were when they were
// last seen. Each is remembered for the token that it was given to. The zero value
// remembers nothing yet; it is safe for concurrent use.
//
// Nothing depends on it: a replica that did not begin a job, or one that was started
// again, asks.
type Memory struct {
	mu       sync.Mutex
	listings map[listingKey][]source.File
	listed   int // files in all of them
	texts    map[textKey][]byte
	modes    map[modeKey]*asked
	heads    map[headKey]string
}

// headKey is a branch as one caller sees it.
type headKey struct {
	token        source.TokenID
	repo, branch string
}

// listingKey is one caller's view of a commit, which has the same files for ever.
type listingKey struct {
	token source.TokenID
	at    source.Snapshot
}

// textKey is a content that one caller has read: git's id of it.
type textKey struct {
	token source.TokenID
	id    string
}

// modeKey is a kind of file of a job: those of one path, small enough to travel in a
// commit or not.
type modeKey struct {
	token                     source.TokenID
	repo, revision, job, path string
	small                     bool
}

// asked is a question that was put to the Hub; mode may be read when done is closed,
// and is "" if the answer holds for one file only.
type asked struct {
	done chan struct{}
	mode string
}

// store is the repository with what the memory knows of it.
type store struct {
	*hub.Dataset
	token  source.TokenID
	memory *Memory
}

var _ source.Store = store{}

// Files implements source.Store. A commit is listed by begin and again by commit, and
// of a large repository that is a page after the other.
func (s store) Files(ctx context.Context, at source.Snapshot, dir string) iter.Seq2[source.File, error] {
	key := listingKey{s.token, at}
	if dir != "" || !fullSha.MatchString(at.Commit) {
		return s.Dataset.Files(ctx, at, dir)
	}
	return func(yield func(source.File, error) bool) {
		files, known := s.memory.listing(key)
		if known {
			for _, f := range files {
				if !yield(f, nil) {
					return
				}
			}
			return
		}
		for f, err := range s.Dataset.Files(ctx, at, dir) {
			if len(files) <= maxListed {
				files = append(files, f)
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
		s.memory.list(key, files)
	}
}

// Open implements source.Store. Rules and cards are read for every commit, and are
// mostly those of the commit before, or, of rules, those that the Hub gives to every
// repository.
func (s store) Open(ctx context.Context, f source.File) (source.Reader, error) {
	if f.OID != "" || f.Size > maxText || !writer.IsText(f.Path) {
		return s.Dataset.Open(ctx, f)
	}
	key := textKey{s.token, f.ETag}
	if text, known := s.memory.text(key); known && int64(len(text)) == f.Size {
		return kept(text), nil
	}
	r, err := s.Dataset.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return &keeping{Reader: r, key: key, memory: s.memory}, nil
}

// keeping remembers what is read whole, if it is what its id says.
type keeping struct {
	source.Reader
	key    textKey
	memory *Memory
}

// ReadAt implements source.Reader.
func (k *keeping) ReadAt(ctx context.Context, p []byte, off int64) error {
	err := k.Reader.ReadAt(ctx, p, off)
	if err == nil && off == 0 && int64(len(p)) == k.Size() && source.GitBlobID(p) == k.key.id {
		k.memory.keep(k.key, append([]byte(nil), p...))
	}
	return err
}

// kept is a text of the memory.
type kept []byte

// ReadAt implements source.Reader.
func (k kept) ReadAt(_ context.Context, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > int64(len(k)) {
		return source.Errorf(source.KindInternal, "read", "%d bytes at %d of %d", len(p), off, len(k))
	}
	copy(p, k[off:])
	return nil
}

// Size implements source.Reader.
func (k kept) Size() int64 { return int64(len(k)) }

// Close implements source.Reader.
func (k kept) Close() error { return nil }

func (m *Memory) listing(key listingKey) ([]source.File, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	files, ok := m.listings[key]
	return files, ok
}

func (m *Memory) list(key listingKey, files []source.File) {
	if len(files) > maxListed {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// One more than the files, so that listings of none are bounded, too.
	if m.listings == nil || m.listed+len(files)+1 > maxListed {
		m.listings, m.listed = map[listingKey][]source.File{}, 0
	}
	m.listed += len(files) + 1
	m.listings[key] = files
}

func (m *Memory) text(key textKey) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text, ok := m.texts[key]
	return text, ok
}

func (m *Memory) keep(key textKey, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texts == nil || len(m.texts) >= maxTexts {
		m.texts = map[textKey][]byte{}
	}
	m.texts[key] = text
}

// head is where a branch was when it was last seen, "" if that is not known. It may be
// elsewhere by now.
func (m *Memory) head(key headKey) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heads[key]
}

// see remembers where a branch is; "" forgets it.
func (m *Memory) see(key headKey, commit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.heads == nil || len(m.heads) >= maxHeads {
		m.heads = map[headKey]string{}
	}
	m.heads[key] = commit
}

// mode is the answer about files of a kind: ask's, or what another one's was. Of many
// who want to know at the same time, one asks, and the others if its answer holds for
// its own file only.
//
// That a kind is LFS holds for all its files, also if the rules change meanwhile: the
// commit adds the rule that is missing. Any other answer about a small file is about
// that one; a large one goes as LFS in any case.
func (m *Memory) mode(ctx context.Context, key modeKey, ask func() (string, error)) (string, error) {
	a, mine := m.question(key)
	if mine {
		return m.answer(key, a, ask)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return "", source.AsError("preupload", ctx.Err())
	}
	if a.mode == "" {
		return ask()
	}
	return a.mode, nil
}

// question is the one about a kind, and whether the caller has to put it.
func (m *Memory) question(key modeKey) (a *asked, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.modes[key]; ok {
		return a, false
	}
	if m.modes == nil || len(m.modes) >= maxModes {
		m.modes = map[modeKey]*asked{} // whoever waits for one still gets its answer
	}
	a = &asked{done: make(chan struct{})}
	m.modes[key] = a
	return a, true
}

func (m *Memory) answer(key modeKey, a *asked, ask func() (string, error)) (mode string, err error) {
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if a.mode == "" && m.modes[key] == a {
			delete(m.modes, key)
		}
		close(a.done)
	}()
	mode, err = ask()
	if err == nil && (mode == hub.ModeLFS || !key.small) {
		a.mode = mode
	}
	return mode, err
}
