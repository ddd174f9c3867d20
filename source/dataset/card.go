package dataset

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hubflight/hubflight/source"
)

const (
	maxCardBytes   = 16 << 20 // README.md; cards with a dataset_info per language reach megabytes
	maxCardConfigs = 10_000
	maxYAMLDepth   = 64 // aliases and merge keys followed in one place
	// maxYAMLVisits is how many nodes are looked at: some hundred per config are
	// usual. Anchors let a small card name the same list a thousand times.
	maxYAMLVisits = 4_000_000
)

// card is what a README's front matter says about configs.
type card struct {
	configs []cardConfig
	// infoNames are the config names of dataset_info: if no config is the
	// default and there is exactly one, that one is.
	infoNames []string
}

type cardConfig struct {
	name      string
	dataDir   string
	files     *DataFiles // nil = no data_files
	isDefault bool
	err       error // the entry cannot be used
}

// frontMatter finds the YAML block: a byte order mark, as some editors write it, and
// white space if there is any, a line "---", and everything up to the first line
// "---", with any kind of line end.
var frontMatter = regexp.MustCompile(`\A\x{FEFF}?\s*---(?:\r\n|\r|\n)((?s:.*?))(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\z)`)

// cardReader walks a card within a budget.
type cardReader struct{ visits int }

func (r *cardReader) exhausted() bool { return r.visits > maxYAMLVisits }

// parseCard reads the front matter of README.md and, over it, .huggingface.yaml.
func parseCard(readme, standalone []byte) (card, error) {
	var c card
	r := &cardReader{}
	var configs, info *yaml.Node
	blocks := []struct {
		name string
		text []byte
	}{{"README.md", frontMatterOf(readme)}, {".huggingface.yaml", standalone}}
	for _, block := range blocks {
		if len(block.text) > maxCardBytes {
			return c, source.Errorf(source.KindLimit, "dataset card", "%s is larger than %d bytes", block.name, maxCardBytes).WithFile("", block.name)
		}
		root, err := yamlMapping(block.text)
		if err != nil {
			return c, source.Errorf(source.KindInvalid, "dataset card", "%w", err).WithFile("", block.name)
		}
		if n := r.lookup(root, "configs"); n != nil {
			configs = n
		}
		if n := r.lookup(root, "dataset_info"); n != nil {
			info = n
		}
	}
	var err error
	c.configs, err = r.configs(configs)
	c.infoNames = r.infoNames(info)
	if r.exhausted() {
		return card{}, source.Errorf(source.KindLimit, "dataset card", "the metadata refers to itself too often").WithFile("", "README.md")
	}
	if err != nil {
		return c, &source.Error{Op: "dataset card", Kind: source.KindInvalid, Msg: err.Error(), Path: "README.md"}
	}
	return c, nil
}

func frontMatterOf(readme []byte) []byte {
	if len(readme) > maxCardBytes {
		return readme // refused by the caller with its size
	}
	m := frontMatter.FindSubmatch(readme)
	if m == nil {
		return nil
	}
	return m[1]
}

// yamlMapping parses a block and returns its mapping, or nil if it is empty.
func yamlMapping(text []byte) (node *yaml.Node, err error) {
	defer func() {
		// The parser panics on some malformed documents.
		if r := recover(); r != nil {
			node, err = nil, fmt.Errorf("the metadata block is not YAML: %v", r)
		}
	}()
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("the metadata block is not YAML: %w", err)
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return nil, nil
	}
	root := deref(doc.Content[0])
	if isNull(root) {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("repo card metadata block should be a dict")
	}
	return root, nil
}

func deref(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < maxYAMLDepth; i++ {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// lookup returns the value of a key, the last one if it is repeated, following
// merge keys; nil if it is absent.
func (r *cardReader) lookup(n *yaml.Node, key string) *yaml.Node {
	return r.lookupUnseen(n, key, make(map[*yaml.Node]bool))
}

// lookupUnseen passes a mapping once: merge keys can name each other in circles.
func (r *cardReader) lookupUnseen(n *yaml.Node, key string, seen map[*yaml.Node]bool) *yaml.Node {
	n = deref(n)
	if n == nil || n.Kind != yaml.MappingNode || seen[n] || r.exhausted() {
		return nil
	}
	seen[n] = true
	r.visits += len(n.Content)
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if k := deref(n.Content[i]); k.Kind == yaml.ScalarNode && k.Value == key {
			return deref(n.Content[i+1])
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "<<" {
			continue
		}
		merged := []*yaml.Node{n.Content[i+1]}
		if list := deref(n.Content[i+1]); list.Kind == yaml.SequenceNode {
			merged = list.Content
		}
		for _, m := range merged {
			r.visits++
			if v := r.lookupUnseen(m, key, seen); v != nil {
				return v
			}
		}
	}
	return nil
}

// truthy is Python's truth of a YAML 1.1 value.
func truthy(n *yaml.Node) bool {
	switch {
	case isNull(n):
		return false
	case n.Kind != yaml.ScalarNode:
		return len(n.Content) > 0
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return n.Value != ""
	}
	switch strings.ToLower(n.Value) {
	case "", "no", "off", "false", "0", "0.0", "0x0":
		return false
	}
	return true
}

// configs reads "configs". Names are the scalars as they are written: 0625
// stays "0625", although YAML 1.1 takes it for an octal number. What makes a
// single entry unusable stays with that entry.
func (r *cardReader) configs(n *yaml.Node) ([]cardConfig, error) {
	switch {
	case !truthy(n):
		return nil, nil
	case n.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("expected configs to be a list, but got %s", describe(n))
	case len(n.Content) > maxCardConfigs:
		return nil, fmt.Errorf("configs has %d entries; at most %d are accepted", len(n.Content), maxCardConfigs)
	}
	var out []cardConfig
	at := make(map[string]int)
	for _, item := range n.Content {
		item = deref(item)
		name := r.lookup(item, "config_name")
		if isNull(name) || name.Kind != yaml.ScalarNode || name.Value == "" {
			return nil, fmt.Errorf("each config must include `config_name` field with a string name of a config, but got %s", describe(item))
		}
		c := r.entry(name.Value, item)
		if i, ok := at[c.name]; ok { // the last wins, in the place of the first
			out[i] = c
			continue
		}
		at[c.name] = len(out)
		out = append(out, c)
	}
	return out, nil
}

const configNameBlacklist = `<>:/\|?*`

func (r *cardReader) entry(name string, item *yaml.Node) cardConfig {
	c := cardConfig{name: name, isDefault: truthy(r.lookup(item, "default"))}
	invalid := func(format string, args ...any) cardConfig {
		c.err = source.Errorf(source.KindInvalid, "dataset card", format, args...).WithFile("", "README.md")
		return c
	}
	if strings.ContainsAny(name, configNameBlacklist) {
		return invalid("bad characters from %q found in config name %q: they could create issues when creating a directory for this config", configNameBlacklist, name)
	}
	if dir := r.lookup(item, "data_dir"); !isNull(dir) {
		if dir.Kind != yaml.ScalarNode {
			return invalid("data_dir of config %q should be a string, but got %s", name, describe(dir))
		}
		var problem string
		if c.dataDir, problem = cleanDir(dir.Value); problem != "" {
			return invalid("data_dir %q of config %q %s", dir.Value, name, problem)
		}
	}
	files := r.lookup(item, "data_files")
	if isNull(files) {
		return c
	}
	parsed, err := r.dataFiles(files)
	if err != nil {
		return invalid("config %q: %s", name, err)
	}
	c.files = &parsed
	return c
}

// dataFiles reads data_files in the three forms that a README may use; an
// object split → path, which the option accepts, is refused here as the
// reference refuses it.
func (r *cardReader) dataFiles(n *yaml.Node) (DataFiles, error) {
	form := func() error {
		return fmt.Errorf("expected data_files in YAML to be either a string or a list of strings or a list of dicts with two keys: 'split' and 'path', but got %s", describe(n))
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if !isText(n) {
			return DataFiles{}, form()
		}
		return newDataFiles(n.Value), nil
	case yaml.SequenceNode:
	default:
		return DataFiles{}, form()
	}
	if len(n.Content) == 0 {
		return DataFiles{Splits: []SplitPatterns{}}, nil
	}
	if deref(n.Content[0]).Kind == yaml.ScalarNode {
		patterns, ok := r.scalars(n)
		if !ok {
			return DataFiles{}, form()
		}
		return newDataFiles(patterns...), nil
	}
	var d DataFiles
	seen := make(map[string]bool)
	for _, item := range n.Content {
		item = deref(item)
		split, path := r.lookup(item, "split"), r.lookup(item, "path")
		if item.Kind != yaml.MappingNode || len(item.Content) != 4 || isNull(split) || split.Kind != yaml.ScalarNode || isNull(path) {
			return DataFiles{}, form()
		}
		if !isSplitName(split.Value) {
			return DataFiles{}, fmt.Errorf("%w (split name %q should match %s: dashes '-' are not allowed)", form(), split.Value, splitNamePattern)
		}
		patterns, ok := r.scalars(path)
		if !ok || path.Kind == yaml.ScalarNode && !isText(path) {
			return DataFiles{}, form()
		}
		if seen[split.Value] {
			return DataFiles{}, fmt.Errorf("some splits are duplicated in data_files: %q", split.Value)
		}
		seen[split.Value] = true
		d.Splits = append(d.Splits, SplitPatterns{Split: split.Value, Patterns: patterns})
	}
	return d, nil
}

// isText reports whether a scalar is a string and no number, date or boolean. For
// paths this is asked, for names it is not: those are taken as they are written.
func isText(n *yaml.Node) bool { return n.ShortTag() == "!!str" }

// scalars returns the strings of a scalar or of a list of scalars.
func (r *cardReader) scalars(n *yaml.Node) ([]string, bool) {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}, !isNull(n)
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxPatterns || r.exhausted() {
		return nil, false
	}
	r.visits += len(n.Content)
	out := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		item = deref(item)
		if item.Kind != yaml.ScalarNode || !isText(item) {
			return nil, false
		}
		out = append(out, item.Value)
	}
	return out, true
}

// infoNames returns the config names of dataset_info: one mapping (config_name,
// or "default") or a list of them.
func (r *cardReader) infoNames(n *yaml.Node) []string {
	nameOf := func(n *yaml.Node) string {
		if v := r.lookup(n, "config_name"); v != nil && v.Kind == yaml.ScalarNode && v.Value != "" {
			return v.Value
		}
		return defaultConfig
	}
	switch {
	case isNull(n):
		return nil
	case n.Kind == yaml.MappingNode:
		return []string{nameOf(n)}
	case n.Kind != yaml.SequenceNode:
		return nil
	}
	var out []string
	for i, item := range n.Content {
		if i == maxCardConfigs {
			break
		}
		if item = deref(item); item.Kind == yaml.MappingNode {
			out = append(out, nameOf(item))
		}
	}
	return out
}

// describe names a YAML value for an error text.
func describe(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "null"
	case n.Kind == yaml.ScalarNode:
		return fmt.Sprintf("%.60q (line %d)", n.Value, n.Line)
	case n.Kind == yaml.SequenceNode:
		return fmt.Sprintf("a list (line %d)", n.Line)
	}
	return fmt.Sprintf("a dict (line %d)", n.Line)
}
