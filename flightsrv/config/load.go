package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/hubflight/hubflight/source"
)

const envPrefix = "HUBFLIGHT"

// A key is one setting: its name, its help and how to reach its field.
type key struct {
	name, help string
	index      []int // field path in Config
	kind       reflect.Type
	separator  string // of a list that is one text
}

// keys lists every setting in the order of the struct.
func keys() []key {
	var all []key
	for section := range reflect.TypeFor[Config]().Fields() {
		for f := range section.Type.Fields() {
			all = append(all, key{
				name: f.Tag.Get("key"), help: f.Tag.Get("help"), index: []int{section.Index[0], f.Index[0]}, kind: f.Type,
				separator: cmp.Or(f.Tag.Get("separator"), string(os.PathListSeparator)),
			})
		}
	}
	return all
}

// AddFlags adds a flag for every key, under the key's own name, and --config.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration `file` (YAML, TOML or JSON)")
	defaults := Default()
	for _, k := range keys() {
		value := reflect.ValueOf(defaults).FieldByIndex(k.index).Interface()
		switch v := value.(type) {
		case bool:
			fs.Bool(k.name, v, k.help)
		case []string:
			fs.StringArray(k.name, v, k.help)
			fs.Lookup(k.name).DefValue = strings.Join(v, ", ")
			rename(fs, k.name, "value")
		case int:
			fs.Int(k.name, v, k.help)
		case time.Duration:
			fs.Duration(k.name, v, k.help)
		case Size:
			fs.String(k.name, fmt.Sprint(value), k.help)
			rename(fs, k.name, "size")
		default:
			fs.String(k.name, fmt.Sprint(value), k.help)
		}
	}
}

// shown is a flag's value under a word of ours: the help would say stringArray.
type shown struct {
	pflag.Value
	word string
}

// Type implements pflag.Value.
func (s shown) Type() string { return s.word }

func rename(fs *pflag.FlagSet, name, word string) {
	flag := fs.Lookup(name)
	flag.Value = shown{flag.Value, word}
}

// Setting is one effective value and where it came from, for `config print`.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"` // flag | env NAME | file | default
}

// Load reads the configuration: flags of fs that were set, the environment, the
// file named by --config, the defaults. It validates the result; the returned
// error lists every problem. Sections that are named are left as they are by default.
func Load(fs *pflag.FlagSet, without ...string) (Config, []Setting, error) {
	v := viper.New()
	file, _ := fs.GetString("config")
	if file != "" {
		v.SetConfigFile(file)
		if err := v.ReadInConfig(); err != nil {
			if errors.As(err, new(viper.UnsupportedConfigError)) {
				return Config{}, nil, fmt.Errorf("config: the name of %s ends in none of .yaml, .yml, .toml, .json", file)
			}
			return Config{}, nil, fmt.Errorf("config: %w", err)
		}
		if err := refuseUnknown(v.AllKeys(), file); err != nil {
			return Config{}, nil, err
		}
	}
	cfg := Default()
	var settings []Setting
	var errs []error
	for _, k := range keys() {
		if section, _, _ := strings.Cut(k.name, "."); slices.Contains(without, section) {
			continue
		}
		raw, from := lookup(v, fs, k)
		field := reflect.ValueOf(&cfg).Elem().FieldByIndex(k.index)
		if raw != nil {
			if err := assign(field, raw, k.separator); err != nil {
				errs = append(errs, fmt.Errorf("%s (%s): %w", k.name, from, err))
			}
		}
		settings = append(settings, Setting{Key: k.name, Value: render(field.Interface()), Source: from})
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, settings, err
	}
	return cfg, settings, cfg.Validate()
}

// lookup returns the raw value of a key from the strongest source that has it,
// or nil when only the default is left.
func lookup(v *viper.Viper, fs *pflag.FlagSet, k key) (raw any, from string) {
	if f := fs.Lookup(k.name); f != nil && f.Changed {
		value := f.Value
		if s, ok := value.(shown); ok {
			value = s.Value
		}
		if list, ok := value.(pflag.SliceValue); ok {
			return list.GetSlice(), "flag"
		}
		return f.Value.String(), "flag"
	}
	env := envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
	if text, ok := os.LookupEnv(env); ok && text != "" {
		return text, "env " + env
	}
	if v.InConfig(k.name) {
		return v.Get(k.name), "file"
	}
	return nil, "default"
}

func refuseUnknown(found []string, file string) error {
	known := make(map[string]bool)
	var names []string
	for _, k := range keys() {
		known[k.name] = true
		names = append(names, k.name)
	}
	sort.Strings(found)
	var errs []error
	for _, name := range found {
		if known[name] {
			continue
		}
		hint := ""
		if near := source.Nearest(name, names); near != "" {
			hint = fmt.Sprintf(": did you mean %s?", near)
		}
		errs = append(errs, fmt.Errorf("%s: unknown key in %s%s", name, file, hint))
	}
	return errors.Join(errs...)
}

// assign parses raw into a field by the field's type.
func assign(field reflect.Value, raw any, separator string) error {
	text := strings.TrimSpace(fmt.Sprint(raw))
	if number, ok := raw.(float64); ok { // of a JSON file: 1048576, not 1.048576e+06
		text = strconv.FormatFloat(number, 'f', -1, 64)
	}
	switch field.Interface().(type) {
	case string:
		field.SetString(text)
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		field.SetBool(b)
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not an integer", text)
		}
		field.SetInt(int64(n))
	case Size:
		n, err := ParseSize(text)
		if err != nil {
			return err
		}
		field.SetInt(int64(n))
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration such as 30s", text)
		}
		field.SetInt(int64(d))
	case []string:
		field.Set(reflect.ValueOf(splitList(raw, separator)))
	default:
		return fmt.Errorf("no parser for %s", field.Type())
	}
	return nil
}

// splitList reads a list from a flag or file (a list) or from the environment (one
// text: folders are separated like PATH, addresses, which hold colons, by commas).
func splitList(raw any, separator string) []string {
	switch v := raw.(type) {
	case []string:
		return v
	case []any:
		var out []string
		for _, item := range v {
			out = append(out, fmt.Sprint(item))
		}
		return out
	}
	var out []string
	for item := range strings.SplitSeq(fmt.Sprint(raw), separator) {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// render is a value as it may be shown: no setting holds a secret, but somebody
// may have typed one into an address.
func render(value any) string {
	if list, ok := value.([]string); ok {
		return source.Redact(strings.Join(list, ", "))
	}
	return source.Redact(fmt.Sprint(value))
}
