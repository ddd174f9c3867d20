package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// DataFiles is the data_files option: which files make up which split. In JSON
// it is a string, a list of strings (both: the split train), an object split →
// string or list, or a list of {"split", "path"} objects. Its zero value stands
// for "not given". Order is kept.
type DataFiles struct {
	Splits []SplitPatterns
}

// SplitPatterns are the globs of one split, in the order in which their files
// are read.
type SplitPatterns struct {
	Split    string
	Patterns []string
}

const (
	maxPatterns      = 10_000 // patterns in one data_files option
	maxPatternLength = 4096   // bytes
)

// newDataFiles gives all patterns to the split train, as the reference does.
func newDataFiles(patterns ...string) DataFiles {
	return DataFiles{Splits: []SplitPatterns{{Split: defaultSplit, Patterns: patterns}}}
}

// IsZero reports whether the option was not given.
func (d DataFiles) IsZero() bool { return d.Splits == nil }

// MarshalJSON writes a list if there is only the split train, else an object.
func (d DataFiles) MarshalJSON() ([]byte, error) {
	switch {
	case d.IsZero():
		return []byte("null"), nil
	case len(d.Splits) == 1 && d.Splits[0].Split == defaultSplit:
		return json.Marshal(d.Splits[0].Patterns)
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, s := range d.Splits {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(s.Split)
		if err != nil {
			return nil, err
		}
		patterns, err := json.Marshal(s.Patterns)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(patterns)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads any of the forms; its errors say which was found instead.
func (d *DataFiles) UnmarshalJSON(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		*d = DataFiles{}
		return nil
	}
	var err error
	switch raw[0] {
	case '{':
		d.Splits, err = splitsOfObject(raw)
	case '[':
		d.Splits, err = splitsOfList(raw)
	default:
		var patterns []string
		patterns, err = patternsOf(raw)
		d.Splits = []SplitPatterns{{Split: defaultSplit, Patterns: patterns}}
	}
	if err != nil {
		return err
	}
	return d.Validate()
}

func splitsOfList(raw []byte) ([]SplitPatterns, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("data_files: %w", err)
	}
	if len(items) == 0 || bytes.TrimSpace(items[0])[0] != '{' {
		patterns, err := patternsOf(raw)
		return []SplitPatterns{{Split: defaultSplit, Patterns: patterns}}, err
	}
	var out []SplitPatterns
	for _, item := range items {
		var entry struct {
			Split *string         `json:"split"`
			Path  json.RawMessage `json:"path"`
		}
		dec := json.NewDecoder(bytes.NewReader(item))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&entry); err != nil || entry.Split == nil || entry.Path == nil {
			return nil, fmt.Errorf("data_files: each item must be an object with the keys \"split\" and \"path\"")
		}
		patterns, err := patternsOf(entry.Path)
		if err != nil {
			return nil, err
		}
		out = append(out, SplitPatterns{Split: *entry.Split, Patterns: patterns})
	}
	return out, nil
}

// splitsOfObject reads token by token because the order of the splits matters.
func splitsOfObject(raw []byte) ([]SplitPatterns, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("data_files: %w", err)
	}
	out := []SplitPatterns{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("data_files: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("data_files: %w", err)
		}
		patterns, err := patternsOf(value)
		if err != nil {
			return nil, err
		}
		out = append(out, SplitPatterns{Split: fmt.Sprint(key), Patterns: patterns})
	}
	return out, nil
}

func patternsOf(raw []byte) ([]string, error) {
	var one string
	if err := json.Unmarshal(raw, &one); err == nil && bytes.TrimSpace(raw)[0] == '"' {
		return []string{one}, nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("data_files: expected a string or a list of strings")
	}
	out := make([]string, len(list))
	for i, p := range list {
		if p == nil {
			return nil, fmt.Errorf("data_files: expected a string or a list of strings")
		}
		out[i] = *p
	}
	return out, nil
}

// Validate refuses empty options, repeated splits and split names that the
// reference would not take.
func (d DataFiles) Validate() error {
	if d.IsZero() {
		return nil
	}
	seen := make(map[string]bool)
	total := 0
	for _, s := range d.Splits {
		switch {
		case !isSplitName(s.Split):
			return fmt.Errorf("data_files: split name %q should match %s", s.Split, splitNamePattern)
		case seen[s.Split]:
			return fmt.Errorf("data_files: some splits are duplicated: %q", s.Split)
		case len(s.Patterns) == 0:
			return fmt.Errorf("data_files: split %q has no patterns", s.Split)
		}
		seen[s.Split] = true
		for _, p := range s.Patterns {
			if p == "" || len(p) > maxPatternLength {
				return fmt.Errorf("data_files: a pattern of split %q is empty or longer than %d bytes", s.Split, maxPatternLength)
			}
		}
		total += len(s.Patterns)
	}
	if len(d.Splits) == 0 || total > maxPatterns {
		return fmt.Errorf("data_files: %d patterns; from 1 to %d are accepted", total, maxPatterns)
	}
	return nil
}
