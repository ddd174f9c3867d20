package dataset

import (
	"strings"

	"github.com/hubflight/hubflight/source"
)

// Choose returns the config and the splits that a reader names; empty names
// stand for the default config, and for the split train, else the only one. The
// split "all" is all of them in resolution order, unless a split has that name.
//
// Errors: KindInvalid if a name has to be given or is a slice, KindNotFound if
// there is none of that name (the texts list those that are there), else what
// the config's Err says.
func (l *Layout) Choose(config, split string) (Config, []Split, error) {
	c, err := l.chooseConfig(config)
	if err != nil {
		return Config{}, nil, err
	}
	if c.Err != nil {
		return Config{}, nil, c.Err
	}
	splits, err := c.choose(split)
	if err != nil {
		return Config{}, nil, err
	}
	return c, splits, nil
}

func (l *Layout) chooseConfig(name string) (Config, error) {
	if len(l.Configs) == 0 {
		if l.empty != nil {
			return Config{}, l.empty
		}
		return Config{}, (&resolver{name: "the dataset"}).noData("The directory at %s doesn't contain any data files", "the dataset")
	}
	if name != "" {
		if i := l.find(name); i >= 0 {
			return l.Configs[i], nil
		}
		return Config{}, source.Errorf(source.KindNotFound, "config", "BuilderConfig '%s' not found. Available: %s", name, quoted(l.names()))
	}
	var defaults []string
	var chosen Config
	for _, c := range l.Configs {
		if c.Default {
			defaults = append(defaults, c.Name)
			chosen = c
		}
	}
	switch len(defaults) {
	case 1:
		return chosen, nil
	case 0:
		return Config{}, source.Errorf(source.KindInvalid, "config", "Config name is missing. Please pick one among the available configs: %s", quoted(l.names())).
			WithHint("for example config=%q", l.Configs[0].Name)
	}
	return Config{}, source.Errorf(source.KindInvalid, "config", "Dataset has several default configs: '%s' and '%s'.", defaults[0], defaults[1]).
		WithHint("name the config, or keep one of them in the README")
}

func (l *Layout) names() []string {
	out := make([]string, len(l.Configs))
	for i, c := range l.Configs {
		out[i] = c.Name
	}
	return out
}

func (c Config) choose(name string) ([]Split, error) {
	wanted := name
	if wanted == "" {
		wanted = defaultSplit
	}
	names := make([]string, len(c.Splits))
	for i, s := range c.Splits {
		names[i] = s.Name
		if s.Name == wanted {
			return c.withFiles(c.Splits[i : i+1])
		}
	}
	switch {
	case name == "" && len(c.Splits) == 1:
		return c.withFiles(c.Splits)
	case name == allSplits:
		return c.withFiles(c.Splits)
	case strings.ContainsAny(name, "[+%"):
		return nil, source.Errorf(source.KindInvalid, "split", "Split %s is invalid: slices and sums of splits are not supported. Valid options are %s", name, quoted(names)).
			WithHint("read a whole split (or split=all) and use limit or filters")
	case name == "":
		return nil, source.Errorf(source.KindInvalid, "split", "Split train is invalid. Valid options are %s", quoted(names)).
			WithHint("config %s has no split train: name one of its splits, or split=all", c.Name)
	}
	return nil, source.Errorf(source.KindNotFound, "split", "Split %s is invalid. Valid options are %s", name, quoted(names))
}

// withFiles refuses a choice without any file: a glob of the README that matches
// nothing says neither rows nor columns.
func (c Config) withFiles(splits []Split) ([]Split, error) {
	for _, s := range splits {
		if len(s.Files) > 0 {
			return splits, nil
		}
	}
	var names []string
	for _, s := range splits {
		names = append(names, s.Name)
	}
	return nil, source.Errorf(source.KindNotFound, "split", "No (supported) data files found for split %s of config %s", strings.Join(names, ", "), c.Name).
		WithHint("check the patterns of data_files in the README")
}

// quoted writes names as Python prints a list.
func quoted(names []string) string {
	const shown = 50
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == shown {
			b.WriteString("…")
			break
		}
		b.WriteString("'" + n + "'")
	}
	b.WriteByte(']')
	return b.String()
}
