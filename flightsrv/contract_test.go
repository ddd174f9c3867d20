package flightsrv

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hubflight/hubflight/flightsrv/internal/sharedmem"
	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// section is a part of wire.md, by its number.
func section(t *testing.T, number int) string {
	t.Helper()
	text, err := os.ReadFile("wire.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), fmt.Sprintf("\n## %d. ", number))
	if !found {
		t.Fatalf("wire.md has no section %d", number)
	}
	part, _, _ := strings.Cut(after, "\n## ")
	return part
}

// firstColumn is the code in the first cell of each row of a section's tables.
func firstColumn(part string) (names []string) {
	code := regexp.MustCompile("`([^`]+)`")
	for line := range strings.SplitSeq(part, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, match := range code.FindAllStringSubmatch(cells[1], -1) {
				names = append(names, match[1])
			}
		}
	}
	return names
}

// keys are the JSON keys of a struct, in their order.
func keys(body any) (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(body)) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func TestTheContractHasTheKeysOfWhatClientsSend(t *testing.T) {
	var writing []string
	for _, body := range []any{writer.BeginRequest{}, writer.StageRequest{}, writer.CommitRequest{}, writer.WriteRequest{}} {
		writing = append(writing, keys(body)...)
	}
	for number, want := range map[int][]string{3: keys(wire.ReadCommand{}), 8: writing} {
		slices.Sort(want)
		if got, want := firstColumn(section(t, number)), slices.Compact(want); !sameNames(got, want) {
			t.Errorf("section %d of wire.md has the keys\n%v, the code has\n%v", number, got, want)
		}
	}
	if order := strings.Join(keys(ticket{}), ","); !strings.Contains(section(t, 5), "`"+order+"`") {
		t.Errorf("section 5 of wire.md does not have a ticket's keys in their order, %s", order)
	}
}

func TestTheContractNamesEveryKeyOfAnAnswer(t *testing.T) {
	for _, c := range []struct {
		section int
		bodies  []any
	}{
		{4, []any{wire.InfoMetadata{}, wire.EndpointMetadata{}, wire.ListCriteria{}}},
		{8, []any{writer.BeginResult{}, writer.StagedFile{}, writer.StageResult{}, writer.CommitProgress{}, writer.CommitResult{}}},
		{9, []any{wire.VersionResult{}, wire.SplitItem{}, wire.CountResult{}, wire.ParquetRequest{}}},
		{11, []any{sharedmem.Announcement{}, sharedmem.Place{}}},
	} {
		part := section(t, c.section)
		for _, body := range c.bodies {
			for _, key := range keys(body) {
				// "type" and "v" are in every body, and told of once.
				if key != "type" && key != "v" && !strings.Contains(part, `"`+key+`"`) {
					t.Errorf("section %d of wire.md does not name %q of %T", c.section, key, body)
				}
			}
		}
	}
}

func TestTheContractHasEveryHeaderActionAndKind(t *testing.T) {
	headers := section(t, 2)
	for _, name := range []string{headerHubToken, headerSkipRows, headerStopRows, headerMaxInfo, headerSharedMemory, headerRequestID, headerRequests} {
		if !strings.Contains(headers, "`"+name) {
			t.Errorf("section 2 of wire.md does not have the header %s", name)
		}
	}
	if got, want := firstColumn(section(t, 9)), slices.Sorted(maps.Keys(actions())); !sameNames(got, want) {
		t.Errorf("section 9 of wire.md has the actions %v, the server has %v", got, want)
	}
	kinds := section(t, 10)
	for kind := source.KindInvalid; kind <= source.KindInternal; kind++ {
		// CANCELLED is the protocol's spelling.
		code := strings.ToUpper(regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(codeOf[kind].String(), "${1}_$2"))
		code = strings.ReplaceAll(code, "CANCELED", "CANCELLED")
		row := regexp.MustCompile("(?m)^\\|[^|]*`" + kind.String() + "`[^|]*\\| " + code + " \\|")
		if !row.MatchString(kinds) {
			t.Errorf("section 10 of wire.md has no row that gives %s the code %s", kind, code)
		}
	}
}

// sameNames compares names without regard to their order.
func sameNames(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
