package writer

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hubflight/hubflight/source"
)

// card is a dataset card: YAML front matter between two lines "---", then text.
// Editing a key replaces that key's lines and nothing else, so that the rest stays
// as its authors wrote it, comments included.
type card struct {
	before string // up to and with the opening line
	front  string // the YAML
	after  string // from the closing line on
	root   *yaml.Node
}

var (
	// As the reference library: a byte order mark and white space if there is any, a
	// line ---, everything up to the first line ---.
	openingLine = regexp.MustCompile(`^\x{FEFF}?\s*---[ \t]*(\r\n|\r|\n)`)
	closingLine = regexp.MustCompile(`(?m)^---[ \t]*\r?$`)
)

// parseCard reads a card; nil is an empty one.
func parseCard(text []byte) (*card, error) {
	c := &card{before: "---\n", after: "---\n" + string(text)}
	if open := openingLine.FindIndex(text); open != nil {
		rest := text[open[1]:]
		if end := closingLine.FindIndex(rest); end != nil {
			c.before, c.front, c.after = string(text[:open[1]]), string(rest[:end[0]]), string(rest[end[0]:])
		}
	}
	return c, c.parse()
}

func (c *card) parse() (err error) {
	defer func() {
		if r := recover(); r != nil { // the parser panics on some malformed documents
			err = cardError("its YAML cannot be read")
		}
	}()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(c.front), &doc); err != nil {
		return cardError("its YAML cannot be read")
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		c.root = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		return nil
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return cardError("its YAML is not a mapping")
	}
	c.root = doc.Content[0]
	return nil
}

func cardError(why string) *source.Error {
	e := invalid("commit", "the dataset card cannot be edited: %s", why)
	e.Path = ReadmePath
	return e.WithHint("repair the YAML block at the top of README.md")
}

// bytes is the card's text.
func (c *card) bytes() []byte {
	if c.front == "" {
		return []byte(strings.TrimPrefix(c.after, "---\n"))
	}
	return []byte(c.before + c.front + c.after)
}

// get returns the value of a top-level key, nil if there is none. Of duplicate
// keys the last wins, as in the reference library.
func (c *card) get(key string) *yaml.Node { return lookup(c.root, key) }

// set replaces or adds a top-level key.
func (c *card) set(key string, value *yaml.Node) error {
	at := -1
	for i := 0; i+1 < len(c.root.Content); i += 2 {
		if c.root.Content[i].Value == key {
			at = i
		}
	}
	if c.root.Style&yaml.FlowStyle != 0 {
		return c.rewrite(key, value)
	}
	text, err := encode(mapping(key, value))
	if err != nil {
		return err
	}
	// Comments below the value stay where they are. The parser takes them for the value's
	// own where lines end in \r\n.
	for last := lastLine(text); strings.HasPrefix(text[last:], "#"); last = lastLine(text) {
		text = text[:last]
	}
	lines := yamlLine.FindAllString(c.front, -1)
	if last := len(lines) - 1; last >= 0 && !strings.HasSuffix(lines[last], "\n") {
		lines[last] += "\n"
	}
	from, to := len(lines), len(lines)
	if at >= 0 {
		from = c.root.Content[at].Line - 1
		belongs := func(line string) bool { return strings.TrimSpace(line) == "" || line[0] == '#' }
		if at+2 < len(c.root.Content) {
			to, belongs = c.root.Content[at+2].Line-1, isComment
		}
		for to > from+1 && belongs(lines[to-1]) {
			to-- // to the next key, or to none
		}
	}
	if from < 0 || to < from || to > len(lines) {
		return c.rewrite(key, value)
	}
	c.front = strings.Join(lines[:from], "") + text + strings.Join(lines[to:], "")
	return c.parse()
}

// yamlLine is a line as the parser counts them, which ends one at these characters too.
var yamlLine = regexp.MustCompile("[^\r\n\u0085\u2028\u2029]*(?:\r\n|[\r\n\u0085\u2028\u2029])|[^\r\n\u0085\u2028\u2029]+$")

// lastLine is where the last line of a text begins.
func lastLine(text string) int { return strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1 }

func isComment(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || strings.HasPrefix(line, "#")
}

// rewrite is set for a front matter in flow style ({a: b}).
func (c *card) rewrite(key string, value *yaml.Node) error {
	root := *c.root
	root.Style &^= yaml.FlowStyle
	put(&root, key, value)
	text, err := encode(&root)
	if err != nil {
		return err
	}
	c.front = text
	return c.parse()
}

func encode(node *yaml.Node) (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent() // as the Hub writes its cards
	if err := enc.Encode(node); err != nil {
		return "", cardError("the changed YAML cannot be written")
	}
	if err := enc.Close(); err != nil {
		return "", cardError("the changed YAML cannot be written")
	}
	return b.String(), nil
}

// lookup returns the value of a key of a mapping; aliases are followed once.
func lookup(m *yaml.Node, key string) *yaml.Node {
	m = deref(m)
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	var found *yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			found = m.Content[i+1]
		}
	}
	return deref(found)
}

func deref(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// put sets a key of a mapping.
func put(m *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = value
			return
		}
	}
	m.Content = append(m.Content, scalar(key), value)
}

// drop removes a key of a mapping.
func drop(m *yaml.Node, key string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = append(m.Content[:i], m.Content[i+2:]...)
			return
		}
	}
}

// scalar is a string as YAML: plain if every YAML version reads it as the same
// string, else quoted (a config called 0625 or no is a string only in quotes).
func scalar(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if !plainWord.MatchString(text) || yaml11Word.MatchString(text) {
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}

var (
	plainWord  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./*-]*$`)
	yaml11Word = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|nan|inf)$`)
)

func integer(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(n)}
}

func boolean(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(b)}
}

func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, _ := pairs[i].(string)
		value, _ := pairs[i+1].(*yaml.Node)
		m.Content = append(m.Content, scalar(key), value)
	}
	return m
}

func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}
