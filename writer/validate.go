package writer

import (
	"regexp"
	"strings"

	"github.com/hubflight/hubflight/source"
)

// target is what begin, stage and commit all say about where a job goes.
type target struct {
	job, dataset, revision, config, split, dir string
	mode                                       Mode
	naming                                     Naming
}

// place is where a request goes, with defaults filled in and the two ways to say
// a revision or a folder merged.
func (t target) place() (ref source.Ref, revision, dir string, err error) {
	ref, err = source.ParseRef(t.dataset)
	if err != nil {
		return ref, "", "", err
	}
	revision = t.revision
	if revision == "" {
		revision = ref.Revision
	}
	dir = strings.TrimSuffix(t.dir, "/")
	if ref.Path != "" && !ref.IsLocal() {
		if dir != "" {
			return ref, "", "", invalid("write", "the dataset name has a path (%s) and dir is given too", clip(ref.Path))
		}
		dir = strings.TrimSuffix(ref.Path, "/")
	}
	ref.Revision, ref.Path = "", ""
	return ref, revision, dir, validateDir("write", dir)
}

func (t target) splitOrTrain() string {
	if t.split == "" && t.named() {
		return "train"
	}
	return t.split
}

// named reports whether the files are files of a config and split.
func (t target) named() bool { return t.naming == "" || t.naming == NamingDataset }

func (t target) namingOrDataset() Naming {
	if t.naming == "" {
		return NamingDataset
	}
	return t.naming
}

var (
	hex64   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hexBase = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	jobID   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	// The names that a split can have in the reference library: ^\w+(\.\w+)*$.
	splitName = regexp.MustCompile(`^[\p{L}\p{N}_]+(\.[\p{L}\p{N}_]+)*$`)
)

// Longest texts; all far above what real jobs send.
const (
	maxSchemaText = 4 << 20 * 4 / 3
	maxNameBytes  = 255
)

func (t target) validate(op string, v int) error {
	switch {
	case v != Version:
		return invalid(op, "v is %d; this server speaks 1", v)
	case !jobID.MatchString(t.job):
		return invalid(op, "job %q is not a lower-case UUID", clip(t.job))
	}
	ref, err := source.ParseRef(t.dataset)
	if err != nil {
		return err
	}
	if t.revision != "" {
		if ref.Revision != "" && ref.Revision != t.revision {
			return invalid(op, "the dataset name says revision %q and the option says %q", ref.Revision, t.revision)
		}
		if why := source.ValidateRevision(t.revision); why != "" {
			return invalid(op, "revision %q %s", clip(t.revision), why)
		}
	}
	if why := source.ValidatePath(t.dir); why != "" {
		return invalid(op, "dir %q %s", clip(t.dir), why)
	}
	if err := validateDir(op, t.dir); err != nil {
		return err
	}
	return t.validateNames(op)
}

func (t target) validateNames(op string) error {
	switch t.naming {
	case "", NamingDataset:
		if t.mode == ModeReplace {
			return invalid(op, "mode is missing").WithHint("use append, overwrite, errorifexists or ignore")
		}
		if err := validateConfig(op, t.config); err != nil {
			return err
		}
		if t.split != "" && (!splitName.MatchString(t.split) || len(t.split) > maxNameBytes/2) {
			return invalid(op, "split %q is not a split name: letters, digits, _ and inner dots", clip(t.split))
		}
		// The reference library cannot load any split of a config that has one
		// of this name.
		if t.split == "all" {
			return invalid(op, `split "all" means the union of all splits and cannot be one of them`)
		}
	case NamingParts, NamingFile:
		if t.config != "" || t.split != "" {
			return invalid(op, "config and split do not go with naming %q: the path says where the files go", t.naming)
		}
		if t.naming == NamingFile && (t.dir == "" || !isParquetName(t.dir)) {
			return invalid(op, "naming file needs a dir that ends in .parquet or .pq, not %q", clip(t.dir))
		}
	default:
		return invalid(op, "naming %q is unknown: use dataset, parts or file", clip(string(t.naming)))
	}
	switch t.mode {
	case ModeReplace, ModeAppend, ModeOverwrite, ModeErrorIfExists, ModeIgnore:
		return nil
	}
	return invalid(op, "mode %q is unknown: use append, overwrite, errorifexists or ignore", clip(string(t.mode)))
}

// validateConfig refuses names that cannot be a folder, a glob's literal and a
// YAML scalar at once.
func validateConfig(op, config string) error {
	if config == "" {
		return nil
	}
	bad := strings.ContainsAny(config, "[]*?<>:/\\|\x00\r\n") || strings.HasPrefix(config, ".") ||
		strings.HasPrefix(config, "__") || config == "data" || len(config) > maxNameBytes/2 || strings.TrimSpace(config) != config
	if bad {
		return invalid(op, "config %q cannot be written", clip(config)).
			WithHint(`a config's name is a folder: without [ ] * ? < > : / \ |, not beginning with "." or "__", and not "data"`)
	}
	return nil
}

// validateDir refuses folders that dataset resolution or git do not look into,
// and what would escape the next character of a pattern. Other characters that a
// glob reads differently are a matter of the files that a card has to name.
func validateDir(op, dir string) error {
	for _, part := range strings.Split(strings.TrimSuffix(dir, "/"), "/") {
		if strings.HasPrefix(part, ".") || len(part) > maxNameBytes || strings.ContainsAny(part, "\\\x00\r\n") {
			return invalid(op, "dir %q has a part that begins with a dot, holds a backslash or is too long", clip(dir))
		}
	}
	return nil
}

func validateBase(op, base string) error {
	if base != "" && !hexBase.MatchString(base) {
		return invalid(op, "base %q is not a commit", clip(base))
	}
	return nil
}

// validatePublish: a switch is made by the README, which knows the files of a
// config and split only.
func (t target) validatePublish(op, publish string, replaceFormat bool) error {
	if replaceFormat && !t.named() {
		return invalid(op, "replace_format does not go with naming %q: it replaces a config", t.naming)
	}
	switch publish {
	case "", PublishBatches:
		return nil
	case PublishSwitch:
		if t.named() {
			return nil
		}
		return invalid(op, "publish=switch does not go with naming %q", t.naming).
			WithHint("use naming dataset, or max_operations_per_commit=0 for one commit")
	}
	return invalid(op, "publish %q is unknown: use batches or switch", clip(publish))
}

func isParquetName(p string) bool {
	return strings.HasSuffix(p, ".parquet") || strings.HasSuffix(p, ".pq")
}

func invalid(op, format string, args ...any) *source.Error {
	return source.Errorf(source.KindInvalid, op, format, args...)
}

func clip(s string) string { return source.Clip(s, 80) }
