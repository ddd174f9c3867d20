package writer

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Names makes the paths of a job's files: Prefix, the number Offset+i with at
// least Width digits, Suffix. Width 0 is one file without a number. It is fixed by
// the job's first commit, which records it.
type Names struct {
	Prefix, Suffix string
	Width          int
	Offset         int
}

// Path returns the path of the job's i-th file.
func (n Names) Path(i int) string {
	if n.Width == 0 {
		return n.Prefix + n.Suffix
	}
	return fmt.Sprintf("%s%0*d%s", n.Prefix, n.Width, n.Offset+i, n.Suffix)
}

// Paths returns the paths of the first count files.
func (n Names) Paths(count int) []string {
	paths := make([]string, count)
	for i := range paths {
		paths[i] = n.Path(i)
	}
	return paths
}

// highestNumber is what five digits can hold; the reference library's sharded
// pattern has exactly five.
const highestNumber = 99_999

// check refuses numbers that five digits cannot hold.
func (n Names) check(files int) error {
	if n.Width > 0 && n.Offset+files-1 > highestNumber {
		return (&source.Error{Op: "commit", Kind: source.KindLimit, Msg: fmt.Sprintf("the job's files would be numbered up to %d; file names have five digits", n.Offset+files-1)}).
			WithHint("write larger files, or overwrite the split")
	}
	return nil
}

// String is the form in which a commit records the names: no spaces, and
// reversible.
func (n Names) String() string {
	return escapePath(n.Prefix) + "{" + strconv.Itoa(n.Width) + "}" + escapePath(n.Suffix)
}

func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(part), "=", "%3D")
	}
	return strings.Join(parts, "/")
}

var recordedNames = regexp.MustCompile(`^([^{}\s]*)\{([0-9])\}([^{}\s]*)$`)

// parseNames reads String's form.
func parseNames(text string, offset int) (Names, bool) {
	m := recordedNames.FindStringSubmatch(text)
	if m == nil || offset < 0 || offset > highestNumber {
		return Names{}, false
	}
	prefix, err1 := url.PathUnescape(m[1])
	suffix, err2 := url.PathUnescape(m[3])
	n := Names{Prefix: prefix, Suffix: suffix, Width: int(m[2][0] - '0'), Offset: offset}
	if err1 != nil || err2 != nil || n.Path(0) == "" || source.ValidatePath(n.Path(0)) != "" {
		return Names{}, false
	}
	return n, true
}

const parquetExt = ".parquet"

// shardedNames are {folder}/{stem}-{i}-of-{n}-{suffix}.parquet, as the reference
// library names shards, with the job in the suffix. first is the number of the first
// file; n counts the files before it too.
func shardedNames(folder, stem string, first, files int, suffix string) Names {
	return Names{
		Prefix: join(folder, stem) + "-",
		Width:  5, Offset: first,
		Suffix: fmt.Sprintf("-of-%05d-%s%s", first+files, suffix, parquetExt),
	}
}

// plainFolder is the folder of shardedNames: dir if it was given, else data for
// the default config and the config's own name for another.
func plainFolder(dir, config string, isDefault bool) string {
	switch {
	case dir != "":
		return dir
	case isDefault:
		return "data"
	default:
		return config
	}
}

var (
	// train-00000-of-00001.parquet, and with our suffix or anybody's.
	shardName = regexp.MustCompile(`^(.+)-([0-9]{5})-of-([0-9]{5})(.*)\.parquet$`)
	// part-00000.parquet, train_7.parquet, and the same with a job's suffix.
	numberedName = regexp.MustCompile(`^(.*?)([0-9]{1,6})(-[0-9a-f]{8}|-[0-9a-f]{16})?\.parquet$`)
)

// nextNumber is the number after the highest that files of this stem have in this
// folder. The form (shardName or numberedName) tells the stem and the number.
func nextNumber(files []source.File, folder, stem string, form *regexp.Regexp) int {
	next := 0
	for _, f := range files {
		if dirOf(f.Path) != folder {
			continue
		}
		if m := form.FindStringSubmatch(path.Base(f.Path)); m != nil && m[1] == stem {
			if i, err := strconv.Atoi(m[2]); err == nil {
				next = max(next, i+1)
			}
		}
	}
	return next
}

// families are the names that continue the way the split's last file is called,
// best first: the same shards, the same numbers, or the last name with a number
// behind it, which sorts directly after it.
func families(old []source.File, files int, suffix string) []Names {
	if len(old) == 0 {
		return nil
	}
	last := old[len(old)-1]
	folder, base := dirOf(last.Path), path.Base(last.Path)
	var out []Names
	if m := shardName.FindStringSubmatch(base); m != nil {
		out = append(out, shardedNames(folder, m[1], nextNumber(old, folder, m[1], shardName), files, suffix))
	} else if m := numberedName.FindStringSubmatch(base); m != nil {
		out = append(out, Names{Prefix: join(folder, m[1]), Width: len(m[2]), Offset: nextNumber(old, folder, m[1], numberedName), Suffix: "-" + suffix + parquetExt})
	}
	stem := strings.TrimSuffix(base, path.Ext(base))
	for _, sep := range []string{"-", "_"} {
		out = append(out, Names{Prefix: join(folder, stem) + sep, Width: 5, Suffix: "-" + suffix + parquetExt})
	}
	return out
}

// partName is the documented helper's name.
var partName = regexp.MustCompile(`^part-([0-9]{5})\.parquet$`)

// partNames are the helper's names directly in dir.
func partNames(dir string, first int) Names {
	return Names{Prefix: join(dir, "part-"), Width: 5, Offset: first, Suffix: parquetExt}
}

// parts are the files of the helper's names directly in dir, and the number after
// the highest.
func parts(files []source.File, dir string) (found []source.File, next int) {
	for _, f := range files {
		if dirOf(f.Path) != dir {
			continue
		}
		if m := partName.FindStringSubmatch(path.Base(f.Path)); m != nil {
			found = append(found, f)
			if i, err := strconv.Atoi(m[1]); err == nil {
				next = max(next, i+1)
			}
		}
	}
	return found, next
}

// dirOf is path.Dir with "" for the root.
func dirOf(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}
