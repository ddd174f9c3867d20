package writer

import (
	"path"
	"strings"
)

// maxRules is how many files of one job .gitattributes names one by one.
const maxRules = 100

// writeAttributes adds to .gitattributes, in the job's first commit, the rules by
// which git sees the job's large files as LFS pointers, where no rule says so
// yet. They name the job's large files only: a wider rule would change how git
// sees files that are there, and those of the job that are not pointers.
func (p *planner) writeAttributes(plan *Plan) {
	if p.State.At.Local || p.Past.Batches > 0 || len(plan.Batches) == 0 {
		return
	}
	var patterns []string
	mixed := false
	for i, f := range p.Job.Files {
		switch {
		case f.Mode != UploadLFS:
			mixed = true
		case !isLFS(p.State.Attributes, plan.Paths[i]):
			patterns = append(patterns, literalPattern(plan.Paths[i]))
		}
	}
	switch {
	case len(patterns) == 0:
		return
	case plan.Names.Width == 0:
		patterns = []string{literalPattern(plan.Names.Prefix + plan.Names.Suffix)}
	case !mixed || len(patterns) > maxRules:
		patterns = []string{literalPattern(plan.Names.Prefix) + "*" + literalPattern(plan.Names.Suffix)}
	}
	text := string(p.State.Attributes)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	for _, pattern := range patterns {
		if strings.ContainsAny(pattern[:1], `#!"`) {
			pattern = `\` + pattern // a comment, a negation, a quoted pattern
		}
		text += pattern + " filter=lfs diff=lfs merge=lfs -text\n"
	}
	plan.Batches[0].Attributes = []byte(text)
}

// literalPattern is what git reads as this part of a path. White space is for it the
// end of a pattern; that is git-lfs's own way to write it.
func literalPattern(path string) string { return literals.Replace(path) }

var literals = strings.NewReplacer(" ", "[[:space:]]", "\t", "[[:space:]]", "[", `\[`, "*", `\*`, "?", `\?`, `\`, `\\`)

// isLFS reports whether a rule makes a path an LFS file. Patterns that it does
// not understand count as not matching: a rule too many does no harm.
func isLFS(attributes []byte, file string) bool {
	is := false
	for _, line := range strings.Split(string(attributes), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if !attributeMatches(fields[0], file) {
			continue
		}
		for _, attr := range fields[1:] {
			switch {
			case attr == "filter=lfs":
				is = true
			case strings.HasPrefix(attr, "filter=") || attr == "-filter" || attr == "!filter":
				is = false
			}
		}
	}
	return is
}

func attributeMatches(pattern, file string) bool {
	pattern = strings.TrimPrefix(pattern, "**/")
	if folder, ok := strings.CutSuffix(pattern, "/**"); ok && !strings.ContainsAny(folder, "*?[") {
		return below(file, strings.TrimPrefix(folder, "/"))
	}
	name := file
	if !strings.Contains(pattern, "/") {
		name = path.Base(file)
	}
	ok, err := path.Match(strings.TrimPrefix(pattern, "/"), name)
	return err == nil && ok
}
