package writer

import (
	"path"
	"strings"
)

// writeAttributes adds to .gitattributes, in the job's first commit, the rule by
// which git sees the job's large files as LFS pointers, where no rule says so
// yet. The rule names the job's files only: a wider one would change how git
// sees files that are there.
func (p *planner) writeAttributes(plan *Plan) {
	if p.State.At.Local || p.Past.Batches > 0 || len(plan.Batches) == 0 {
		return
	}
	needed := false
	for i, f := range p.Job.Files {
		if f.Mode == UploadLFS && !isLFS(p.State.Attributes, plan.Paths[i]) {
			needed = true
		}
	}
	if !needed {
		return
	}
	text := string(p.State.Attributes)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	pattern := plan.Names.Prefix + plan.Names.Suffix
	if plan.Names.Width > 0 {
		pattern = plan.Names.Prefix + "*" + plan.Names.Suffix
	}
	// Git takes white space for the end of a pattern; this is git-lfs's own way
	// to write it.
	pattern = strings.ReplaceAll(pattern, " ", "[[:space:]]")
	plan.Batches[0].Attributes = []byte(text + pattern + " filter=lfs diff=lfs merge=lfs -text\n")
}

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
