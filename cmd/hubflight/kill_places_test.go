package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
	"github.com/hubflight/hubflight/writer/failpoint"
)

// killPlace is where a server is killed: at a failpoint of its own, or around a request to
// the Hub, which kills it when the request has come or once it is done. The latter are
// inside of the client for the Hub, which knows nothing of failpoints.
type killPlace struct {
	name  string
	times int // how often a job comes by it, about
	local bool
	point failpoint.Point // "" of a request

	request hubtest.Fault // which
	after   bool          // once it has taken effect

	parts bool // it takes uploads in parts
	pr    bool // it takes a pull request
	fresh bool // it takes a repository that is not there
}

func killPlaces() []killPlace {
	var out []killPlace
	for _, p := range failpoint.Hub() {
		out = append(out, killPlace{name: string(p), point: p, times: timesOf(p), fresh: p == failpoint.BeginCreated})
	}
	for _, p := range failpoint.Local() {
		out = append(out, killPlace{name: "folder: " + string(p), point: p, times: timesOf(p), local: true})
	}
	post := func(path string) hubtest.Fault { return hubtest.Fault{Method: http.MethodPost, Path: path} }
	put := hubtest.Fault{Origin: "cdn", Method: http.MethodPut}
	for _, p := range []killPlace{
		{name: "creating the repository", request: post("/repos/create"), times: 1, fresh: true},
		{name: "opening the pull request", request: post("/discussions"), times: 1, pr: true},
		{name: "preupload", request: post("/preupload/"), times: killPartitions},
		{name: "LFS batch", request: post("/objects/batch"), times: killPartitions + 1},
		{name: "PUT", request: put, times: killPartitions},
		{name: "PUT of a part", request: put, times: 2 * killPartitions, parts: true},
		{name: "completing the parts", request: post("/lfs-multipart"), times: killPartitions, parts: true},
		{name: "verify", request: post("/lfs-verify"), times: killPartitions},
		{name: "commit", request: post("/commit/"), times: 2},
	} {
		done := p
		done.name, done.after = "after "+p.name, true
		p.name = "before " + p.name
		out = append(out, p, done)
	}
	return out
}

// timesOf is how often a job of the runs comes by a point. The records of a folder's
// commit, the intent and the answer, are files like those that are staged.
func timesOf(p failpoint.Point) int {
	switch p {
	case failpoint.LocalWritten, failpoint.LocalSynced, failpoint.LocalRenamed:
		return killPartitions + 2
	case failpoint.LocalFlushes, failpoint.LocalFlushed:
		return killPartitions + 2 + 5 // done, twice; data, where files come and go; .hubflight before the intent and in the end
	case failpoint.LocalDeletes, failpoint.LocalDeleted:
		return 2
	case failpoint.StageStarts, failpoint.StageEncoded, failpoint.StageAsked, failpoint.StageStored, failpoint.StageRecorded, failpoint.StageAnswers,
		failpoint.LocalMoves, failpoint.LocalMoved:
		return killPartitions
	case failpoint.CommitPosts, failpoint.CommitPosted:
		return 3
	}
	return 1
}

// killing is one run.
type killing struct {
	*mortal
	killPlace
	seed    uint64
	nth     int
	mode    writer.Mode
	publish string
	dataset string
	before  []int64
	gives   bool // the driver dies with the server and does not come back
	killed  bool
}

func (k *killing) String() string {
	return fmt.Sprintf("seed %d: %s %s, pull request %v, in parts %v, killed the %d. time: %s; driver gives up: %v", k.seed, k.mode, k.publish, k.pr, k.parts, k.nth, k.name, k.gives)
}

// newKilling takes everything that a run is from its number. Every place has its turn,
// each time at another of the times that a job comes by it, the last one first.
func newKilling(seed uint64) *killing {
	all := killPlaces()
	at, turn := seed%uint64(len(all)), int(seed/uint64(len(all))) // a few thousand
	r := rand.New(rand.NewPCG(seed, 1))
	k := &killing{killPlace: all[at], seed: seed, mode: []writer.Mode{writer.ModeAppend, writer.ModeOverwrite}[r.IntN(2)], gives: r.IntN(3) == 0, before: []int64{1, 2}}
	k.nth = k.times - turn%k.times
	if k.local {
		if strings.Contains(k.name, "delete") {
			k.mode = writer.ModeOverwrite
		}
		return k
	}
	k.publish = []string{writer.PublishBatches, writer.PublishSwitch}[r.IntN(2)]
	k.parts = k.parts || k.name != "before PUT" && k.name != "after PUT" && r.IntN(3) == 0
	k.pr = k.pr || !k.fresh && r.IntN(5) == 0
	if k.fresh {
		k.mode, k.before = writer.ModeAppend, []int64{}
	}
	return k
}

// on is the server that the run needs: the Hub of one takes uploads in parts only.
func (k *killing) on(whole, inParts *mortal) *killing {
	k.mortal = whole
	if k.parts {
		k.mortal = inParts
	}
	k.dataset = fmt.Sprintf("demo/run-%d", k.seed)
	if k.local {
		k.dataset = "file://" + k.path(fmt.Sprintf("sets/run-%d", k.seed))
	}
	return k
}

// ready lets the server be killed at the run's place; disarm ends that.
func (k *killing) ready() (disarm func()) {
	if k.point != "" {
		k.arm(fmt.Sprintf("%d %s", k.nth, k.point))
		return func() { k.arm("") }
	}
	process, exited := k.process, k.exited
	fault := k.request
	fault.Nth, fault.After, fault.Reset = k.nth, k.after, true
	fault.Meanwhile = func() {
		_ = process.Process.Kill() // by its id
		<-exited
	}
	return k.hub.Fault(fault).Disarm
}

// allowed are the states that a reader of the job's revision may see at any time: the
// rows from before with a part of the job, in whole files; of a switch and of a
// folder, all or nothing.
func (k *killing) allowed() [][]int64 {
	all := jobIDs()
	full := slices.Concat(k.before, all)
	if k.mode == writer.ModeOverwrite {
		full = all
	}
	allowed := [][]int64{k.before, full}
	if k.local || k.publish != writer.PublishBatches {
		return allowed
	}
	for p := range killPartitions {
		allowed = append(allowed, slices.Concat(k.before, all[:2*(p+1)]))
	}
	if k.mode == writer.ModeOverwrite {
		// Under way, old files lie among the new ones; some of them may be gone
		// once all of those are there.
		allowed = append(allowed, append([]int64{2}, all...), append([]int64{1}, all...))
	}
	return allowed
}
