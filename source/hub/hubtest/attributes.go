package hubtest

import (
	"path"
	"strings"
)

const (
	attributesFile = ".gitattributes"
	ignoreFile     = ".gitignore"
)

// lfsByAttributes reports whether a .gitattributes text sends a path to LFS:
// the last rule that mentions the filter wins.
func lfsByAttributes(text, file string) bool {
	lfs := false
	for line := range strings.Lines(text) {
		pattern, attrs := splitAttribute(strings.TrimSpace(line))
		if pattern == "" || !matchesGit(pattern, file) {
			continue
		}
		for _, a := range attrs {
			switch a {
			case "filter=lfs":
				lfs = true
			case "-filter", "!filter", "filter":
				lfs = false
			}
		}
	}
	return lfs
}

func splitAttribute(line string) (pattern string, attrs []string) {
	if line == "" || line[0] == '#' {
		return "", nil
	}
	fields := strings.Fields(line)
	// git has no spaces in unquoted patterns; git-lfs writes [[:space:]].
	return strings.ReplaceAll(fields[0], "[[:space:]]", " "), fields[1:]
}

// missingAttributes returns the lines to add so that all the paths are LFS.
func missingAttributes(text string, paths []string) string {
	var b strings.Builder
	for _, p := range paths {
		if lfsByAttributes(text, p) {
			continue
		}
		if b.Len() == 0 && text != "" && !strings.HasSuffix(text, "\n") {
			b.WriteByte('\n')
		}
		b.WriteString(attributePattern(p) + " filter=lfs diff=lfs merge=lfs -text\n")
	}
	return b.String()
}

// attributePattern names one path as a pattern: glob characters are escaped,
// and a leading slash keeps a name without folders from matching elsewhere.
func attributePattern(p string) string {
	var b strings.Builder
	if !strings.Contains(p, "/") {
		b.WriteByte('/')
	}
	for _, c := range p {
		switch c {
		case '*', '?', '[', ']', '\\', '#', '!':
			b.WriteRune('\\')
			b.WriteRune(c)
		case ' ':
			b.WriteString("[[:space:]]")
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// ignored reports whether a .gitignore text leaves a path out.
func ignored(text, file string) bool {
	out := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		pattern, negated := strings.CutPrefix(line, "!")
		dirOnly := strings.HasSuffix(pattern, "/")
		pattern = strings.TrimSuffix(pattern, "/")
		// A pattern that matches a folder covers what is inside.
		for p := file; p != "."; p = path.Dir(p) {
			if (p != file || !dirOnly) && matchesGit(pattern, p) {
				out = !negated
				break
			}
		}
	}
	return out
}

// matchesGit is git's rule for both files: a pattern without a slash is for the
// base name at any depth, one with a slash is for the whole path, and ** spans
// folders.
func matchesGit(pattern, file string) bool {
	if !strings.Contains(pattern, "/") {
		ok, err := path.Match(pattern, path.Base(file))
		return ok && err == nil
	}
	return matchSegments(strings.Split(strings.TrimPrefix(pattern, "/"), "/"), strings.Split(file, "/"))
}

func matchSegments(pattern, file []string) bool {
	if len(pattern) == 0 {
		return len(file) == 0
	}
	if pattern[0] == "**" {
		if len(pattern) == 1 {
			return len(file) > 0
		}
		for i := range file {
			if matchSegments(pattern[1:], file[i:]) {
				return true
			}
		}
		return false
	}
	if len(file) == 0 {
		return false
	}
	if ok, err := path.Match(pattern[0], file[0]); !ok || err != nil {
		return false
	}
	return matchSegments(pattern[1:], file[1:])
}
