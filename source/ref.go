package source

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Ref is what a user calls a dataset. It is parsed and validated once, by
// ParseRef; everything after that handles a value that is known to be sound.
//
//	ns/name[@revision]
//	name[@revision]                              (old canonical ids: squad)
//	hf://datasets/ns/name[@revision][/path]
//	file:///folder
//
// In hf:// form path is a data_dir, a file or a glob. "refs/convert/parquet" and
// "refs/pr/N" are the only revisions that may hold an unescaped slash; others are
// written with %2F.
type Ref struct {
	// Repo is "ns/name" or "name"; empty for a local folder.
	Repo string
	// Dir is the cleaned absolute path of a local folder (or of a file or glob in
	// one); empty for a repository.
	Dir string
	// Revision as given, unescaped; "" is the default branch.
	Revision string
	// Path below the dataset; "" is all of it.
	Path string
}

// IsLocal reports whether the Ref names a folder of the server's machine.
func (r Ref) IsLocal() bool { return r.Dir != "" }

// Name returns the dataset's name without revision and path: "ns/name", or
// "file:///folder".
func (r Ref) Name() string {
	if r.IsLocal() {
		return "file://" + r.Dir
	}
	return r.Repo
}

// String returns the shortest text that parses to r.
func (r Ref) String() string {
	rev := ""
	if r.Revision != "" {
		rev = "@" + escapeRevision(r.Revision)
	}
	switch {
	case r.IsLocal():
		return "file://" + r.Dir
	case r.Path != "":
		return "hf://datasets/" + r.Repo + rev + "/" + r.Path
	default:
		return r.Repo + rev
	}
}

var (
	// As huggingface_hub checks ids: ASCII only, at most 96 characters a part, no
	// "--", no "..", no ".git" at the end, no "-" or "." at either end.
	idPart = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$`)
	// What people call a folder, on any system: no dataset's name begins like that.
	localPath = regexp.MustCompile(`^([/\\~]|\.\.?[/\\]|[A-Za-z]:[/\\]($|[^/]))`)
	// The two revisions whose slashes need no escaping, matched greedily in front
	// of a path.
	slashedRevision = regexp.MustCompile(`^(refs/convert/[A-Za-z0-9_.-]+|refs/pr/[0-9]+)(/.*)?$`)
)

const (
	maxRefLength = 4096 // longest text that ParseRef looks at
	hubScheme    = "hf://"
	datasetsPart = "datasets/"
)

// ParseRef reads a dataset name. Its errors are KindInvalid and say which form
// was expected; bucket, model and space paths are refused by name.
func ParseRef(text string) (Ref, error) {
	refuse := func(format string, args ...any) (Ref, error) {
		return Ref{}, Errorf(KindInvalid, "dataset name", format, args...).
			WithHint("use ns/name, ns/name@revision, hf://datasets/ns/name[@revision][/path] or file:///folder")
	}
	switch {
	case text == "":
		return refuse("the dataset name is empty")
	case len(text) > maxRefLength:
		return refuse("the dataset name is %d bytes long; at most %d are accepted", len(text), maxRefLength)
	case strings.ContainsAny(text, "\x00\r\n") || !utf8.ValidString(text):
		return refuse("the dataset name holds a control character or is not UTF-8")
	}
	if rest, ok := strings.CutPrefix(text, "file://"); ok {
		if !strings.HasPrefix(rest, "/") {
			return refuse("%q is not an absolute file URL", Clip(text, 80))
		}
		dir := path.Clean(rest)
		if dir == "/" {
			return refuse("the file system's root cannot be a dataset")
		}
		return Ref{Dir: dir}, nil
	}
	if localPath.MatchString(text) {
		return refuse("%q looks like a local path: local datasets are named file:///folder, or file:///C:/folder on Windows", Clip(text, 80))
	}
	inHub := false
	if rest, ok := strings.CutPrefix(text, hubScheme); ok {
		kind, below, _ := strings.Cut(rest, "/")
		switch kind {
		case "datasets":
			text, inHub = below, true
		case "buckets":
			return Ref{}, Errorf(KindUnsupported, "dataset name", "%q is a bucket: only dataset repositories can be read and written", Clip(text, 80)).
				WithHint("buckets have no revisions and no atomic commits; copy the files into a dataset repository")
		default:
			return refuse("%q is not a dataset: hf:// paths begin with hf://datasets/", Clip(text, 80))
		}
	} else if strings.Contains(text, "://") {
		return refuse("%q has an unknown scheme", Clip(text, 80))
	} else if rest, ok := strings.CutPrefix(text, datasetsPart); ok && strings.Count(rest, "/") == 1 {
		text = rest // "datasets/ns/name", as copied from the address bar
	}
	return parseHubRef(text, inHub, refuse)
}

// parseHubRef reads ns/name[@revision][/path]; a path is allowed only in hf://
// form, where the name always has a namespace.
func parseHubRef(text string, inHub bool, refuse func(string, ...any) (Ref, error)) (Ref, error) {
	repo, tail, hasRev := strings.Cut(text, "@")
	var ref Ref
	if inHub {
		parts := strings.SplitN(repo, "/", 3)
		if len(parts) < 2 {
			return refuse("%q has no namespace: hf:// paths are hf://datasets/ns/name", Clip(text, 80))
		}
		ref.Repo = parts[0] + "/" + parts[1]
		if len(parts) == 3 {
			// The @ belongs to the path, if there is one: file names may hold it.
			ref.Path = strings.TrimPrefix(text, ref.Repo+"/")
			hasRev = false
		}
	} else {
		ref.Repo = repo
	}
	if err := validateRepo(ref.Repo); err != "" {
		return refuse("%q is not a dataset id: %s", Clip(ref.Repo, 120), err)
	}
	if hasRev {
		rev, below := splitRevision(tail, inHub)
		unescaped, err := url.PathUnescape(rev)
		if err != nil || unescaped == "" {
			return refuse("%q has an empty or badly escaped revision", Clip(text, 120))
		}
		if strings.Contains(rev, "/") && !slashedRevision.MatchString(rev) {
			return refuse("revision %q holds a slash; write it as %%2F", Clip(rev, 80))
		}
		if why := ValidateRevision(unescaped); why != "" {
			return refuse("revision %q %s", Clip(unescaped, 80), why)
		}
		ref.Revision, ref.Path = unescaped, below
	}
	if err := ValidatePath(ref.Path); err != "" {
		return refuse("path %q %s", Clip(ref.Path, 120), err)
	}
	return ref, nil
}

// splitRevision divides what follows the "@" into revision and path. Outside
// hf:// form there is no path.
func splitRevision(tail string, inHub bool) (rev, below string) {
	if !inHub {
		return tail, ""
	}
	if m := slashedRevision.FindStringSubmatch(tail); m != nil {
		return m[1], strings.TrimPrefix(m[2], "/")
	}
	rev, below, _ = strings.Cut(tail, "/")
	return rev, below
}

func validateRepo(repo string) string {
	parts := strings.Split(repo, "/")
	if len(parts) > 2 {
		return "an id is ns/name or name"
	}
	for _, p := range parts {
		switch {
		case !idPart.MatchString(p):
			return "parts are 1 to 96 of A-Z a-z 0-9 _ . - and neither begin nor end with . or -"
		case strings.Contains(p, "--") || strings.Contains(p, ".."):
			return `"--" and ".." are not allowed`
		case strings.HasSuffix(p, ".git"):
			return `it ends in ".git"`
		}
	}
	return ""
}

// ValidatePath reports why a path inside a dataset is not acceptable, or "" if
// it is: relative, with slashes, without empty, "." and ".." segments.
func ValidatePath(p string) string {
	if p == "" {
		return ""
	}
	if strings.HasPrefix(p, "/") {
		return "is absolute"
	}
	for _, seg := range strings.Split(strings.TrimSuffix(p, "/"), "/") {
		switch seg {
		case "":
			return "has an empty segment"
		case ".", "..":
			return "has a " + seg + " segment"
		}
	}
	if strings.ContainsAny(p, "\x00\r\n") {
		return "holds a control character"
	}
	return ""
}

// ValidateRevision reports why a revision is not acceptable, or "" if it is:
// what git accepts as a ref name, or a sha.
func ValidateRevision(rev string) string {
	switch {
	case rev == "":
		return "is empty"
	case len(rev) > 250:
		return "is longer than 250 bytes"
	case strings.Contains(rev, ".."), strings.HasPrefix(rev, "/"), strings.HasSuffix(rev, "/"), strings.HasSuffix(rev, ".lock"), strings.HasPrefix(rev, "-"):
		return "is not a git ref"
	case strings.ContainsAny(rev, " ~^:?*[\\\x00\r\n\t"):
		return "holds a character that git refs cannot have"
	}
	return ""
}

func escapeRevision(rev string) string {
	if slashedRevision.MatchString(rev) {
		return rev
	}
	return url.PathEscape(rev)
}
