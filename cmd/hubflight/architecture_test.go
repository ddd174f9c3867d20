package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hubflight/hubflight"

// mayImport is the map of the house: which of our packages a package may use. A key covers the packages below it that have no key of
// their own, and everybody may use packages of their own subtree's internal folder. A package that fits no key fails the test: decide
// where it stands and write it down here. Tests may import more (stand-ins, conformance suites), so only production imports count.
var mayImport = map[string][]string{
	"source":             {},
	"source/filelock":    {},
	"source/half":        {},
	"source/filter":      {"source", "source/half"},
	"source/rangeio":     {"source"},
	"source/localfs":     {"source"},
	"source/hub":         {"source"},
	"source/hub/hubtest": {"source", "source/filelock"},
	"source/sourcetest":  {"source"},
	"source/ipcguard":    {"source"},
	"source/scan":        {"source", "source/half", "source/ipcguard", "source/filter", "source/rangeio", "source/scan/column"},
	"source/scan/column": {"source/scan/snappy"}, // pages to arrays: no files, no errors of ours, no filters
	"source/dataset":     {"source", "source/filter", "source/rangeio", "source/scan"},

	"source/dataset/datasetslib": {}, // the datasets library, as a peer of tests

	// The writer resolves (parent tree + its operations) before every commit, hence source/dataset.
	"writer":            {"source", "source/half", "source/ipcguard", "source/scan", "source/dataset", "writer/spool", "writer/failpoint"},
	"writer/failpoint":  {},
	"writer/spool":      {"source", "source/filelock"},
	"writer/hubsink":    {"source", "source/hub", "writer", "writer/spool", "writer/failpoint"},
	"writer/localsink":  {"source", "source/filelock", "source/localfs", "writer", "writer/spool", "writer/failpoint"},
	"writer/writertest": {"source", "writer", "writer/spool"},

	"flightsrv":            {"source", "source/ipcguard", "source/filter", "source/scan", "source/dataset", "writer", "flightsrv/config"},
	"flightsrv/config":     {"source", "flightsrv/internal"},
	"flightsrv/client":     {"source", "source/ipcguard", "source/scan", "writer", "flightsrv/internal"},
	"flightsrv/internal":   {"source", "source/ipcguard"},
	"flightsrv/flighttest": {"source", "source/dataset", "source/hub", "source/localfs", "writer", "writer/hubsink", "writer/localsink", "flightsrv", "flightsrv/config", "flightsrv/client", "source/hub/hubtest"},

	"cmd":        {"source", "writer", "flightsrv"}, // the whole subtrees: cmd wires
	"benchmarks": {"source", "flightsrv/client"},    // as any service would
	// What is measured is the scan without a server.
	"benchmarks/scan": {"source", "source/dataset", "source/filter", "source/hub", "source/localfs", "source/rangeio", "source/scan"},
}

// wholeSubtrees are the importers whose entries in mayImport cover everything below the named folder.
var wholeSubtrees = []string{"cmd"}

// contained names dependencies that stay in few rooms, so that they can be replaced, and so that nothing else opens a socket or reads a flag.
var contained = []struct {
	dependency string
	rooms      []string
	why        string
}{
	{"google.golang.org/grpc", []string{"flightsrv"}, "the transport is the service's business"},
	{"github.com/apache/arrow-go/v18/arrow/flight", []string{"flightsrv", "benchmarks"}, "the transport is the service's business"},
	{"github.com/spf13/viper", []string{"flightsrv/config", "cmd"}, "configuration is one struct by the time anybody else sees it"},
	{"github.com/spf13/pflag", []string{"flightsrv/config", "cmd"}, "configuration is one struct by the time anybody else sees it"},
	{"github.com/spf13/cobra", []string{"cmd"}, "verbs are the command line's business"},
	{"net/http", []string{"source/hub", "source/rangeio", "flightsrv/admin", "benchmarks/scan/reader"}, "the token rules of requests are kept in one place"},
}

// topLevel is what design fixes as the root of the repository; dot files may be added.
var topLevel = []string{
	"LICENSE", "CONTRIBUTING.md", "Makefile", "README.md", "benchmarks", "bin", "cmd", "connector", "demo-data",
	"flightsrv", "go.mod", "go.sum", "pyclient", "source", "writer",
}

// wordsThatSayNothing are refused as names of files and folders: what is inside has a better one.
var wordsThatSayNothing = []string{"util", "utils", "common", "helper", "helpers", "misc", "types", "manager", "managers"}

// listed is the part of `go list -json` that the rules need.
type listed struct {
	Dir, ImportPath string
	GoFiles         []string
	Imports         []string
}

// room is the package's path inside the module.
func (p listed) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func TestImportsGoOnlyInTheDirectionOfTheDesign(t *testing.T) {
	for _, p := range packages(t) {
		key, ok := ruleFor(p.room())
		if !ok {
			t.Errorf("%s stands nowhere in mayImport: decide which packages it may use", p.room())
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module+"/")
			if ours && !importAllowed(key, p.room(), target) {
				t.Errorf("%s imports %s, which packages under %q may not use", p.room(), target, key)
			}
		}
	}
}

func TestTransportsAndFlagsStayInTheirRooms(t *testing.T) {
	for _, p := range packages(t) {
		for _, rule := range contained {
			if slices.ContainsFunc(rule.rooms, func(room string) bool { return within(p.room(), room) }) {
				continue
			}
			for _, imported := range p.Imports {
				if imported == rule.dependency || strings.HasPrefix(imported, rule.dependency+"/") && rule.dependency != "net/http" {
					t.Errorf("%s imports %s, which belongs to %v: %s", p.room(), imported, rule.rooms, rule.why)
				}
			}
		}
	}
}

func TestEveryPackageTellsItsStoryInDocGo(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, "doc.go"), nil, parser.ParseComments)
		if errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has no doc.go", p.room())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if file.Doc == nil || len(file.Doc.Text()) < 80 {
			t.Errorf("%s/doc.go does not say what the package is for", p.room())
		}
	}
}

func TestTheMapOfTheRoomsHasEveryPackage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		room := p.room()
		if strings.HasPrefix(room, "benchmarks/") {
			continue // one row has them all
		}
		// A room is named by its path, or by its last part in the row of its parent.
		if !bytes.Contains(text, []byte("`"+room+"`")) && !bytes.Contains(text, []byte("`"+path.Base(room)+"`")) {
			t.Errorf("CONTRIBUTING.md does not say what %s is for", room)
		}
	}
}

func TestNothingRegistersItselfInInit(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, declared := range file.Decls {
				if function, ok := declared.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
					t.Errorf("%s/%s has an init function: wire it in cmd", p.room(), name)
				}
			}
		}
	}
}

func TestNamesOfFilesSayWhatIsInside(t *testing.T) {
	for _, file := range trackedFiles(t) {
		for _, part := range strings.Split(file, "/") {
			stem, _, _ := strings.Cut(strings.TrimPrefix(part, "_"), ".")
			if slices.Contains(wordsThatSayNothing, strings.TrimSuffix(stem, "_test")) {
				t.Errorf("%s: %q says nothing about what is inside", file, part)
			}
		}
		if top, _, _ := strings.Cut(file, "/"); !strings.HasPrefix(top, ".") && !slices.Contains(topLevel, top) {
			t.Errorf("%s: the top level of the repository is fixed (%v)", file, topLevel)
		}
	}
}

// ruleFor finds the most specific key of mayImport that covers the room.
func ruleFor(room string) (string, bool) {
	for at := room; at != "."; at = path.Dir(at) {
		if _, ok := mayImport[at]; ok {
			return at, true
		}
	}
	return "", false
}

func importAllowed(key, room, target string) bool {
	if owner, _, internal := strings.Cut(target, "/internal/"); internal {
		return within(room, owner) // the compiler's own rule
	}
	for _, allowed := range mayImport[key] {
		if target == allowed || slices.Contains(wholeSubtrees, key) && within(target, allowed) {
			return true
		}
	}
	// A package may use its own children that have no rule of their own, and those one another, but never a child that has one.
	own, ok := ruleFor(target)
	return ok && own == key
}

func within(room, folder string) bool { return room == folder || strings.HasPrefix(room, folder+"/") }

func packages(t *testing.T) []listed {
	t.Helper()
	out := command(t, "go", "list", "-e", "-json=Dir,ImportPath,GoFiles,Imports", "./...")
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// trackedFiles lists what git tracks; in an unpacked archive without git there is nothing to hold to the rule.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	if err := exec.Command("git", "-C", repositoryRoot, "rev-parse", "--is-inside-work-tree").Run(); err != nil {
		t.Skip("not a git work tree")
	}
	return strings.Split(strings.Trim(string(command(t, "git", "ls-files", "-z")), "\x00"), "\x00")
}

// repositoryRoot as seen from this package, where `go test` runs.
const repositoryRoot = "../.."

func command(t *testing.T, name string, arguments ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, arguments...)
	cmd.Dir = repositoryRoot
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, stderr.Bytes())
	}
	return out
}
