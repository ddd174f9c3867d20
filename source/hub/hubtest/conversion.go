package hubtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// convertedRef is the branch that the Hub converts datasets to.
const convertedRef = "refs/convert/parquet"

// conversionFile is where a repository's Conversion is kept.
const conversionFile = "conversion.json"

// State is how far the conversion of a repository is, or how it failed.
type State string

const (
	// Recorded is what happened: the conversion is fresh if main has not moved
	// since the branch was written, and not ready if there is no branch.
	Recorded State = ""
	// Fresh claims that it belongs to the present commit.
	Fresh State = "fresh"
	// Stale claims that it belongs to an earlier commit.
	Stale State = "stale"
	// Pending lists Configs, or all of them, as still being converted.
	Pending State = "pending"
	// Failed lists Configs, or all of them, as not convertible.
	Failed State = "failed"
	// Partial says that the conversion holds only the first gigabytes, whatever
	// its folders are called.
	Partial State = "partial"
	// NotReady answers that nothing is known yet.
	NotReady State = "not-ready"
	// Broken answers with the error that the conversion ended with.
	Broken State = "broken"
	// Blocked answers that the dataset is not converted at all.
	Blocked State = "blocked"
)

// Conversion is what the dataset viewer says of a repository besides the files.
type Conversion struct {
	// Revision is the commit of main that was converted. The Hub notes it when
	// the branch is written.
	Revision string `json:"revision,omitempty"`
	State    State  `json:"state,omitempty"`
	// Configs are those that State is about; none is all.
	Configs []string `json:"configs,omitempty"`
}

// Validate refuses unknown states.
func (c Conversion) Validate() error {
	switch c.State {
	case Recorded, Fresh, Stale, Pending, Failed, Partial, NotReady, Broken, Blocked:
	default:
		return source.Errorf(source.KindInvalid, "conversion", "the state %.40q is unknown", c.State)
	}
	if c.Revision != "" && !isHex(c.Revision, 40) {
		return source.Errorf(source.KindInvalid, "conversion", "the revision %.40q is no commit", c.Revision)
	}
	return nil
}

// about reports whether State concerns a config.
func (c Conversion) about(config string) bool {
	return len(c.Configs) == 0 || slices.Contains(c.Configs, config)
}

// SetConversion changes what the dataset viewer says. An empty Revision keeps
// the one that was noted.
func (h *Hub) SetConversion(id string, c Conversion) error {
	const op = "set conversion"
	r, err := h.known(id)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return exported(op, err)
	}
	unlock, err := r.lock()
	if err != nil {
		return exported(op, err)
	}
	defer unlock()
	old, err := r.conversion()
	if err != nil {
		return exported(op, err)
	}
	c.Revision = orElse(c.Revision, old.Revision)
	return exported(op, r.saveConversion(c))
}

func (r *repo) conversion() (Conversion, error) {
	var c Conversion
	raw, err := os.ReadFile(filepath.Join(r.dir, conversionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, err
	}
	return c, c.Validate()
}

func (r *repo) saveConversion(c Conversion) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return r.writeText(conversionFile, string(raw)+"\n")
}

// noteConversion notes what was converted. The caller holds the lock.
func (r *repo) noteConversion() error {
	c, err := r.conversion()
	if err != nil {
		return err
	}
	if c.Revision, err = r.target(mainRef); err != nil {
		return err
	}
	return r.saveConversion(c)
}

// shard is one file of a conversion.
type shard struct {
	config, folder, split string
	partial               bool
	file                  entry
}

// Config and split folders hold files of four digits. A split folder may say
// that it is partial, and which of several it is: a folder has 10,000 at most.
var (
	shardPath   = regexp.MustCompile(`\A([^/]+)/([^/]+)/([0-9]{4,})\.parquet\z`)
	splitFolder = regexp.MustCompile(`\A(partial-)?(.+?)(-part[0-9]+)?\z`)
)

// shards lists the files of the conversion: the default config first and the
// others by name, inside by split and file name.
func (r *repo) shards() ([]shard, error) {
	commit, err := r.target(convertedRef)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	snap, err := r.snapshot(commit)
	if err != nil {
		return nil, err
	}
	var all []shard
	for _, e := range snap.entries {
		m := shardPath.FindStringSubmatch(e.path)
		if m == nil || e.dir {
			continue
		}
		folder := splitFolder.FindStringSubmatch(m[2])
		all = append(all, shard{config: m[1], folder: m[2], partial: folder[1] != "", split: folder[2], file: e})
	}
	slices.SortStableFunc(all, func(a, b shard) int {
		return cmp.Or(cmp.Compare(rankConfig(a.config), rankConfig(b.config)), strings.Compare(a.config, b.config),
			strings.Compare(a.split, b.split), strings.Compare(shardName(a), shardName(b)))
	})
	return all, nil
}

func rankConfig(name string) int {
	if name == "default" {
		return 0
	}
	return 1
}

func shardName(s shard) string { return s.file.path[strings.LastIndexByte(s.file.path, '/')+1:] }

// listParquet answers GET …/parquet[/{config}[/{split}[/{n}.parquet]]]: the URLs
// of the converted files, by config and split folder. The last form redirects to
// the file.
func listParquet(c *call) error {
	r, err := c.open(read)
	if err != nil {
		return err
	}
	all, err := r.shards()
	if err != nil {
		return err
	}
	if len(c.rest) > 3 {
		return refuse(http.StatusNotFound, "", "Sorry, we can't find the page you are looking for.")
	}
	// Folders, not split names: a partial conversion is "partial-train" here.
	byConfig := map[string]map[string][]string{}
	var numbered []shard // of the split folder that the path names
	for _, s := range all {
		if byConfig[s.config] == nil {
			byConfig[s.config] = map[string][]string{}
		}
		urls := byConfig[s.config][s.folder]
		at := fmt.Sprintf("%s/api/datasets/%s/parquet/%s/%s/%d.parquet", c.base(), r.id, url.PathEscape(s.config), url.PathEscape(s.folder), len(urls))
		byConfig[s.config][s.folder] = append(urls, at)
		if len(c.rest) > 1 && s.config == c.rest[0] && s.folder == c.rest[1] {
			numbered = append(numbered, s)
		}
	}
	found := len(all) > 0
	var out any = byConfig
	switch len(c.rest) {
	case 1:
		out, found = byConfig[c.rest[0]], byConfig[c.rest[0]] != nil
	case 2:
		out, found = byConfig[c.rest[0]][c.rest[1]], len(numbered) > 0
	case 3:
		return c.toShard(r, numbered)
	}
	if !found {
		return refuse(http.StatusNotFound, codeEntry, "No converted Parquet files: %s", orElse(c.path(), r.id))
	}
	return c.json(out)
}

// toShard redirects to the n-th file of a split.
func (c *call) toShard(r *repo, all []shard) error {
	text, ok := strings.CutSuffix(c.rest[2], ".parquet")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n >= len(all) || strconv.Itoa(n) != text {
		return refuse(http.StatusNotFound, codeEntry, "No such converted Parquet file: %s", c.path())
	}
	return c.redirect(http.StatusFound, c.h.options.PathPrefix+shardResolvePath(r, all[n]))
}

func shardResolvePath(r *repo, s shard) string {
	return "/datasets/" + r.id + "/resolve/" + url.PathEscape(convertedRef) + "/" + escapePath(s.file.path)
}
