package dataset

import (
	"strings"
	"unicode/utf8"

	"github.com/hubflight/hubflight/source"
)

// A glob is a pattern with fsspec's meaning, which is not the shell's: "**"
// stands for whole segments only, and braces are ordinary characters.
type glob struct {
	text     string
	segments []globSegment
	magic    bool
	// What the pattern itself spells out, for the exclusion rules.
	base         string // last segment
	prefix       string // what stands in front of the first wildcard
	need         string // longest run of ordinary characters: no path without it matches
	hiddenParts  int    // segments beginning with "."
	specialParts int    // directories beginning with "__"
}

type globSegment struct {
	tokens []globToken
	deep   bool // "**"
}

type globToken struct {
	kind globKind
	r    rune       // literal
	set  []runeSpan // class
	not  bool       // negated class
}

type runeSpan struct{ lo, hi rune }

type globKind uint8

const (
	globLiteral globKind = iota
	globAny              // ?
	globStar             // *
	globClass            // [...]
)

// hasMagic reports whether a pattern is more than a file's name.
func hasMagic(pattern string) bool { return strings.ContainsAny(pattern, "*?[") }

// compileGlob reads a pattern relative to the dataset. Its error is KindInvalid.
func compileGlob(pattern string) (*glob, error) {
	g := &glob{text: pattern, magic: hasMagic(pattern)}
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**":
			g.segments = append(g.segments, globSegment{deep: true})
		case strings.Contains(part, "**"):
			return nil, source.Errorf(source.KindInvalid, "data files",
				"Invalid pattern: '**' can only be an entire path component, but got %q", pattern).
				WithHint("write **/*.parquet for all Parquet files at any depth")
		default:
			tokens := globTokens(part)
			g.segments = append(g.segments, globSegment{tokens: tokens})
			if run := longestLiteral(tokens); len(run) > len(g.need) {
				g.need = run
			}
		}
		if strings.HasPrefix(part, ".") {
			g.hiddenParts++
		}
		if !last && strings.HasPrefix(part, "__") {
			g.specialParts++
		}
	}
	g.base, g.prefix = parts[len(parts)-1], pattern
	if i := strings.IndexAny(pattern, "*?["); i >= 0 {
		g.prefix = pattern[:i]
	}
	return g, nil
}

// globTokens reads one segment. A "[" that is never closed is an ordinary
// character, and "[]" and "[!]" begin a class that holds "]".
func globTokens(part string) []globToken {
	runes := []rune(part)
	var out []globToken
	for i := 0; i < len(runes); i++ {
		switch runes[i] {
		case '*':
			out = append(out, globToken{kind: globStar})
		case '?':
			out = append(out, globToken{kind: globAny})
		case '[':
			end := classEnd(runes, i)
			if end < 0 {
				out = append(out, globToken{r: '['})
				continue
			}
			out = append(out, classToken(runes[i+1:end]))
			i = end
		default:
			out = append(out, globToken{r: runes[i]})
		}
	}
	return out
}

// longestLiteral is a cheap test in front of matching: a listing of 100,000 files
// meets some sixty patterns, nearly all of which name a keyword that is not there.
func longestLiteral(tokens []globToken) string {
	longest, run := "", []rune(nil)
	for _, t := range append(tokens[:len(tokens):len(tokens)], globToken{kind: globStar}) {
		if t.kind == globLiteral && t.r != utf8.RuneError {
			run = append(run, t.r)
			continue
		}
		if text := string(run); len(text) > len(longest) {
			longest = text
		}
		run = run[:0]
	}
	return longest
}

// classEnd returns the index of the "]" that closes the class opened at i, or −1.
func classEnd(runes []rune, i int) int {
	j := i + 1
	if j < len(runes) && runes[j] == '!' {
		j++
	}
	if j < len(runes) && runes[j] == ']' {
		j++
	}
	for j < len(runes) && runes[j] != ']' {
		j++
	}
	if j >= len(runes) {
		return -1
	}
	return j
}

// classToken reads what stands between the brackets. A range that runs
// backwards is empty.
func classToken(body []rune) globToken {
	t := globToken{kind: globClass}
	if len(body) > 0 && body[0] == '!' {
		t.not, body = true, body[1:]
	}
	for i := 0; i < len(body); i++ {
		if i+2 < len(body) && body[i+1] == '-' {
			if body[i] <= body[i+2] {
				t.set = append(t.set, runeSpan{body[i], body[i+2]})
			}
			i += 2
			continue
		}
		t.set = append(t.set, runeSpan{body[i], body[i]})
	}
	return t
}

func (t globToken) matches(r rune) bool {
	switch t.kind {
	case globLiteral:
		return t.r == r
	case globAny:
		return true
	}
	in := false
	for _, s := range t.set {
		if s.lo <= r && r <= s.hi {
			in = true
			break
		}
	}
	return in != t.not
}

// match reports whether a path, split at its slashes, matches. "**" takes any
// number of segments, at the end at least one. Both this loop and the one in a
// segment remember only the last wildcard, which is enough because an earlier one
// never needs to take more: the cost is at most |path| × |pattern|.
func (g *glob) match(segments []string) bool {
	p, s := 0, 0
	deepAt, resume := -1, 0
	for s < len(segments) {
		if p < len(g.segments) && g.segments[p].deep {
			if p == len(g.segments)-1 {
				return true
			}
			deepAt, resume = p, s
			p++
			continue
		}
		if p < len(g.segments) && g.segments[p].match(segments[s]) {
			p++
			s++
			continue
		}
		if deepAt < 0 {
			return false
		}
		resume++
		p, s = deepAt+1, resume
	}
	return p == len(g.segments)
}

func (gs globSegment) match(name string) bool {
	p, i := 0, 0
	starAt, resume := -1, 0
	for i < len(name) {
		if p < len(gs.tokens) && gs.tokens[p].kind == globStar {
			starAt, resume = p, i
			p++
			continue
		}
		r, size := utf8.DecodeRuneInString(name[i:])
		if p < len(gs.tokens) && gs.tokens[p].matches(r) {
			p++
			i += size
			continue
		}
		if starAt < 0 {
			return false
		}
		_, size = utf8.DecodeRuneInString(name[resume:])
		resume += size
		p, i = starAt+1, resume
	}
	for p < len(gs.tokens) && gs.tokens[p].kind == globStar {
		p++
	}
	return p == len(gs.tokens)
}

// neverData are base names that no pattern matches unless its own base name is
// the very same.
var neverData = map[string]bool{
	"README.md": true, "config.json": true, "dataset_info.json": true,
	"dataset_infos.json": true, "dummy_data.zip": true, "dataset_dict.json": true,
}

// treePath is a file of the tree, prepared for being matched many times.
type treePath struct {
	file     source.File
	segments []string
	hidden   int // segments beginning with "."
	special  int // directories beginning with "__"
	data     bool
}

func newTreePath(f source.File) treePath {
	p := treePath{file: f, segments: strings.Split(f.Path, "/")}
	p.data = isDataFile(p.base())
	for i, s := range p.segments {
		if strings.HasPrefix(s, ".") {
			p.hidden++
		}
		if i < len(p.segments)-1 && strings.HasPrefix(s, "__") {
			p.special++
		}
	}
	return p
}

func (p treePath) base() string { return p.segments[len(p.segments)-1] }

// selects reports whether the pattern names the file as data: it has the name of
// a known format, matches, and is not hidden. Hidden parts (".x", and "__x" directories) count as asked
// for if the pattern spells out as many of them.
func (g *glob) selects(p treePath) bool {
	if !p.data || p.hidden != g.hiddenParts || p.special != g.specialParts {
		return false
	}
	if base := p.base(); neverData[base] && base != g.base {
		return false
	}
	return strings.Contains(p.file.Path, g.need) && g.match(p.segments)
}
