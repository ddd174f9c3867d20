package localfs

import (
	"testing"

	"github.com/hubflight/hubflight/source"
)

func TestFoldersOfDrivesAreNamedAsFileURLsNameThem(t *testing.T) {
	for abs, url := range map[string]string{
		"/data/x":     "file:///data/x",
		"C:/data/x":   "file:///C:/data/x",
		"c:/data":     "file:///C:/data",
		"C:/":         "file:///C:/",
		"/":           "",
		"/c:/strange": "file:///c:/strange",
	} {
		got := refDir(abs)
		if url == "" {
			if got != abs {
				t.Errorf("%s: got %s", abs, got)
			}
			continue
		}
		ref, err := source.ParseRef(url)
		if err != nil || got != ref.Dir {
			t.Errorf("%s: got %s, and %s names %s, %v", abs, got, url, ref.Dir, err)
		}
	}
}

func TestAFolderOfADriveIsFoundBelowItsRoot(t *testing.T) {
	r := &Roots{roots: []root{{names: []string{refDir("C:/")}}, {names: []string{refDir("d:/data")}}}}
	for dir, want := range map[string]string{"/C:/x/y": "x/y", "/C:": ".", "/D:/data/x": "x", "/D:/data": "."} {
		if _, rel, err := r.find(dir); err != nil || rel != want {
			t.Errorf("%s: got %q, %v, want %q", dir, rel, err, want)
		}
	}
	if _, _, err := r.find("/D:/database"); source.KindOf(err) != source.KindDenied {
		t.Errorf("a folder beside the root gave %v", err)
	}
}
