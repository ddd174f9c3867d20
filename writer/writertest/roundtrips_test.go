package writertest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

// asked are the requests since the n-th, in the order of their texts: those that go
// out at the same time come in any.
func (r *rig) asked(n int) []string { return r.askedAt(n, r.head()) }

// askedAt is asked with AT for a commit.
func (r *rig) askedAt(n int, commit string) []string {
	var out []string
	for _, req := range r.hub.Requests()[n:] {
		_, what, _ := strings.Cut(strings.ReplaceAll(req.Path, commit, "AT"), repo)
		out = append(out, req.Method+" "+strings.TrimPrefix(what, "/"))
	}
	slices.Sort(out)
	return out
}

// together holds requests until all of them are there: one that waits for another's
// answer never comes.
func (r *rig) together(paths ...string) (disarm func()) {
	var all sync.WaitGroup
	all.Add(len(paths))
	arrived := make(chan struct{})
	var armed []*hubtest.Armed
	nth := map[string]int{}
	for _, path := range paths {
		nth[path]++
		armed = append(armed, r.hub.Fault(hubtest.Fault{Path: path, Nth: nth[path], Meanwhile: func() {
			all.Done()
			select {
			case <-arrived:
			case <-time.After(20 * time.Second):
				r.t.Errorf("%s waits for the others of %s", path, paths)
			}
		}}))
	}
	go func() {
		all.Wait()
		close(arrived)
	}()
	return func() {
		for _, a := range armed {
			a.Disarm()
		}
	}
}

// TestAWriteAsksNothingTwice: over a distance every request is waited for, and those
// that do not depend on each other go out at the same time.
func TestAWriteAsksNothingTwice(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, nil))
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false })
	disarm := r.together("/auth-check/write", "/revision/main")
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	disarm()
	equal(t, "begin", r.askedAt(0, r.head()), []string{"GET auth-check/write", "GET revision/main", "GET tree/AT"})
	begun := len(r.hub.Requests())
	disarm = r.together("/preupload/", "/objects/batch")
	if err := j.StageAll([]int64{1}, []int64{2}); err != nil {
		t.Fatal(err)
	}
	disarm()
	equal(t, "stage", r.asked(begun), []string{
		"POST .git/info/lfs/objects/batch", "POST .git/info/lfs/objects/batch", "POST lfs-verify", "POST lfs-verify",
		"POST preupload/main", "PUT ", "PUT ",
	})
	staged, base := len(r.hub.Requests()), r.head()
	disarm = r.together("/revision/main", "/.gitattributes", "/objects/batch")
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	disarm()
	equal(t, "commit", r.askedAt(staged, base), []string{
		"GET AT/.gitattributes", "GET revision/main", "HEAD resolve/AT/.gitattributes",
		"POST .git/info/lfs/objects/batch", "POST commit/main",
	})
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2})
}

// TestACommitBuildsOnTheHeadAndNotOnWhatItLookedAtEarly: somebody has committed
// since the job began, and of the job's base nothing can be read any more.
func TestACommitBuildsOnTheHeadAndNotOnWhatItLookedAtEarly(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	base := r.head()
	if err := j.StageAll([]int64{10}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.job(writer.ModeAppend, nil).Run([]int64{5}); err != nil {
		t.Fatal(err)
	}
	fault := r.hub.Fault(hubtest.Fault{Method: http.MethodGet, Path: "/tree/" + base, Status: http.StatusInternalServerError})
	defer fault.Disarm()
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 5, 10})
}

// TestTheNextWriteAsksWhatHasChangedOnly: the card and the rules are those that the
// same caller has read before, and the rows are appended to a file whose schema is known.
// Whether the branch is where begin has seen it, the commit itself asks.
func TestTheNextWriteAsksWhatHasChangedOnly(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"README.md": []byte("# Rows\n"), "data/train-00000-of-00001.parquet": parquetOf(t, 1)}))
	r.job(writer.ModeAppend, nil).must([]int64{2})
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false })
	n := len(r.hub.Requests())
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	equal(t, "begin", r.asked(n), []string{"GET auth-check/write", "GET revision/main", "GET tree/AT"})
	if err := j.StageAll([]int64{3}); err != nil {
		t.Fatal(err)
	}
	n = len(r.hub.Requests())
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "commit", r.asked(n), []string{"POST commit/main"})
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 3})

	// A card that somebody has changed is read, and not the one before.
	card := []byte("---\nconfigs: [{config_name: other, data_files: data/*}]\n---\n")
	if _, err := r.hub.Commit(repo, "main", hubtest.Change{Summary: "another card", Add: map[string][]byte{"README.md": card}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.job(writer.ModeAppend, nil).Run([]int64{4}); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("main", "other", ""), []int64{1, 2, 3, 4})
}

// TestAReplicaThatRemembersNothingCommitsTheSame: what a server remembers of begin
// and stage it asks if it is another one.
func TestAReplicaThatRemembersNothingCommitsTheSame(t *testing.T) {
	r := newRig(t, oldData(t))
	j := r.job(writer.ModeAppend, nil)
	for _, step := range []func() error{j.Begin, func() error { return j.StageAll([]int64{3}) }, func() error { _, err := j.Commit(); return err }} {
		j.w = r.newWriter(0)
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "rows", r.read("main", "", ""), []int64{1, 2, 3})
}

// TestSmallFilesThatTheHubWantsAsTheyAreAreAskedForOneByOne: that one is regular says
// nothing about the next, and what is regular is not uploaded.
func TestSmallFilesThatTheHubWantsAsTheyAreAreAskedForOneByOne(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{".gitattributes": []byte("*.bin filter=lfs\n")}))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	n := len(r.hub.Requests())
	if err := j.StageAll([]int64{1}, []int64{2}); err != nil {
		t.Fatal(err)
	}
	asked := slices.DeleteFunc(r.asked(n), func(what string) bool { return strings.HasSuffix(what, "/objects/batch") })
	equal(t, "stage", asked, []string{"POST preupload/main", "POST preupload/main"})
	for _, f := range j.staged {
		equal(t, "mode", f.Mode, writer.UploadRegular)
	}
}

// TestManyAttemptsAtOnceAskOnceHowTheirFilesAreKept: of a job's files of one kind the
// first one's answer counts for those that come while it is asked for.
func TestManyAttemptsAtOnceAskOnceHowTheirFilesAreKept(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, nil))
	j := r.job(writer.ModeAppend, nil)
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	const attempts = 5
	// The first question is answered when all attempts are there.
	disarm := r.together("/preupload/", "/objects/batch", "/objects/batch", "/objects/batch", "/objects/batch", "/objects/batch")
	defer disarm()
	n := len(r.hub.Requests())
	var all sync.WaitGroup
	for i := range attempts {
		all.Go(func() {
			if _, err := j.Stage(i, "0", rows(int64(i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count := 0
	for _, what := range r.asked(n) {
		if what == "POST preupload/main" {
			count++
		}
	}
	equal(t, "preuploads", count, 1)
	equal(t, "objects sent", r.puts(), attempts)
}

// TestABranchIsAskedForOnce: the list of branches says where they stand.
func TestABranchIsAskedForOnce(t *testing.T) {
	r := newRig(t, oldData(t), hubtest.At(repo, "dev", nil))
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo, b.Revision = false, "dev" })
	n := len(r.hub.Requests())
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	for _, what := range r.asked(n) {
		if strings.Contains(what, "revision/dev") {
			t.Errorf("%s", what)
		}
	}
	if err := j.StageAll([]int64{3}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", r.read("dev", "", ""), []int64{1, 2, 3})
	equal(t, "rows of main", r.read("main", "", ""), []int64{1, 2})
}

// TestATextThatIsNotWhatItsIdSaysIsNotRemembered: what begin got wrong, commit asks for
// again.
func TestATextThatIsNotWhatItsIdSaysIsNotRemembered(t *testing.T) {
	r := newRig(t, hubtest.Dataset(repo, map[string][]byte{"README.md": []byte("# Rows\n")}))
	j := r.job(writer.ModeAppend, func(b *writer.BeginRequest) { b.CreateRepo = false })
	wrong := r.hub.Fault(hubtest.Fault{Method: http.MethodGet, Path: "/README.md", Status: http.StatusOK, Body: "# Rosw\n"})
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	wrong.Disarm()
	if err := j.StageAll([]int64{1}); err != nil {
		t.Fatal(err)
	}
	n, base := len(r.hub.Requests()), r.head()
	if _, err := j.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := r.askedAt(n, base); !slices.Contains(got, "GET AT/README.md") {
		t.Errorf("commit asked %s", got)
	}
}
