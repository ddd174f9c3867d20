package flightsrv

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/hubflight/hubflight/flightsrv/internal/wire"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/dataset"
	"github.com/hubflight/hubflight/source/scan"
	"github.com/hubflight/hubflight/writer"
)

// An action is one verb of DoAction. It may emit any number of items and then
// returns its result, which is sent last.
type action struct {
	about string
	locks bool // others wait for its dataset, and so for whoever does not take what it tells
	run   func(s *Server, ctx context.Context, body []byte, emit func(any) error) (result any, err error)
}

// actions is everything that ListActions lists and DoAction does.
func actions() map[string]action {
	return map[string]action{
		"version": {about: "{} → the server's version, wire versions, Hub and limits", run: (*Server).versionAction},
		"splits":  {about: `{"dataset","revision"?} → one item per config and split`, run: (*Server).splitsAction},
		"explain": {about: "a read command → per file and row group: kept or skipped, by which layer, rows and the candidates among them, bytes and how many are read", run: (*Server).explainAction},
		"count":   {about: "a read command → the exact number of rows, from the footers, or with filters from a scan of their columns", run: (*Server).countAction},
		"parquet": {about: `{"dataset","config"?,"split"?,"revision"?,"shape"?:"viewer"|"hub","shard"?} → the files of the conversion to Parquet`, run: (*Server).parquetAction},
		"begin":   {about: "starts a write job: repository, mode, base commit, schema", run: (*Server).beginAction},
		"commit":  {about: "makes a job's staged files visible; repeating it is safe", run: (*Server).commitAction, locks: true},
		"jobs":    {about: `{"dataset"?,"job"?} → one item per job that is the caller's own and known here, or told by the dataset's history`, run: (*Server).jobsAction},
		"abort":   {about: `{"job"} → forgets what is spooled of a job of the caller's own`, run: (*Server).abortAction},
	}
}

// ListActions lists exactly what DoAction does.
func (s *Server) ListActions(_ *flight.Empty, stream flight.FlightService_ListActionsServer) error {
	all := actions()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := stream.Send(&flight.ActionType{Type: name, Description: all[name].about}); err != nil {
			return err
		}
	}
	return nil
}

// DoAction runs one action: items, then exactly one result. A stream that ends
// without a result has failed.
func (s *Server) DoAction(a *flight.Action, stream flight.FlightService_DoActionServer) error {
	all := actions()
	act, ok := all[a.GetType()]
	if !ok {
		names := slices.Sorted(maps.Keys(all))
		err := source.Errorf(source.KindUnsupported, "action", "unknown action %.100q", a.GetType())
		if near := source.Nearest(a.GetType(), names); near != "" {
			return err.WithHint("did you mean %q?", near)
		}
		return err.WithHint("the actions are %s", strings.Join(names, ", "))
	}
	body := a.GetBody()
	if len(body) == 0 {
		body = []byte("{}") // some clients cannot leave a body out, others cannot send one
	}
	idle := s.limits.IdleTimeoutGet
	if act.locks {
		idle = s.limits.IdleTimeoutPut
	}
	return watched(stream.Context(), a.GetType(), idle, func(ctx context.Context, wait await) error {
		emit := func(v any) error { return wait(func() error { return sendResult(stream, v) }) }
		result, err := act.run(s, ctx, body, emit)
		if err != nil {
			return err
		}
		return emit(result)
	})
}

// sendResult sends one JSON Result of bounded size.
func sendResult(stream flight.FlightService_DoActionServer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > maxResult {
		return source.Errorf(source.KindLimit, "action", "an answer of %d bytes is larger than the %d of one Result", len(raw), maxResult)
	}
	return stream.Send(&flight.Result{Body: raw})
}

func (s *Server) versionAction(_ context.Context, body []byte, _ func(any) error) (any, error) {
	if err := decode("version", body, maxCommand, &struct{}{}); err != nil {
		return nil, err
	}
	mode := string(s.auth.Mode)
	if mode == "" {
		mode = string(AuthNone)
	}
	return wire.VersionResult{
		Type: "result", V: wireVersion, Version: s.version, Wire: []int{wireVersion}, HubEndpoint: s.endpoint, AuthMode: mode,
		Limits: map[string]int64{
			"max_message": int64(s.limits.MaxMessage), "max_streams": int64(s.limits.MaxStreams),
			"max_command": maxCommand, "max_commit": maxAction, "decode_slots": int64(s.limits.DecodeSlots),
		},
	}, nil
}

func (s *Server) splitsAction(ctx context.Context, body []byte, emit func(any) error) (any, error) {
	var c wire.ListCriteria
	if err := decode("splits", body, maxCommand, &c); err != nil {
		return nil, err
	}
	ref, err := s.readable(ctx, "splits", c.Dataset, c.Revision)
	if err != nil {
		return nil, err
	}
	sha, splits, err := s.planner.Splits(ctx, principalOf(ctx).HubToken, ref)
	if err != nil {
		return nil, err
	}
	for _, sp := range splits {
		if err := emit(wire.SplitItem{Type: "item", Config: sp.Config, Split: sp.Split, Default: sp.Default, Files: sp.Files, Bytes: sp.Bytes, Rows: sp.Rows}); err != nil {
			return nil, err
		}
	}
	return map[string]any{"type": "result", "v": wireVersion, "sha": sha}, nil
}

// maxGroupsPerItem keeps an item well under maxResult at about 120 bytes a group.
const maxGroupsPerItem = 4000

func (s *Server) explainAction(ctx context.Context, body []byte, emit func(any) error) (any, error) {
	command, err := decodeRead(body)
	if err != nil {
		return nil, err
	}
	r, err := s.request(ctx, "explain", command)
	if err != nil {
		return nil, err
	}
	var plan *dataset.Plan
	err = s.admitted(ctx, r, func(a dataset.Admission) (err error) {
		plan, err = s.planner.Explain(ctx, principalOf(ctx).HubToken, r, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	total := wire.ExplainResult{Type: "result", InfoMetadata: planMetadata(plan), Partitions: len(plan.Partitions), Notes: plan.Notes}
	for _, f := range plan.Files {
		item := wire.ExplainItem{Type: "item", File: f.Path, Config: f.Config, Split: f.Split, Size: f.Size, Rows: f.Rows, Kept: f.Kept, Groups: []wire.ExplainGroup{}}
		for _, g := range f.Groups {
			addGroup(&total, f, g)
			item.Groups = append(item.Groups, wire.ExplainGroup{
				Group: g.Group, Kept: g.Keep && f.Kept, Layer: g.Layer, Rows: g.Rows, Bytes: g.Bytes, Candidates: g.Candidates, Read: g.Read,
			})
			if len(item.Groups) == maxGroupsPerItem {
				if err := emit(item); err != nil {
					return nil, err
				}
				item.Groups = []wire.ExplainGroup{}
			}
		}
		if len(item.Groups) > 0 || len(f.Groups) == 0 {
			if err := emit(item); err != nil {
				return nil, err
			}
		}
	}
	return total, nil
}

func addGroup(t *wire.ExplainResult, f dataset.FileReport, g scan.Decision) {
	t.GroupsTotal++
	t.BytesTotal += g.Bytes
	if g.Keep && f.Kept {
		t.GroupsKept++
		t.BytesKept += g.Bytes
		t.RowsKept += g.Rows
		t.Candidates += g.Candidates
		t.BytesRead += g.Read
	}
}

func (s *Server) countAction(ctx context.Context, body []byte, _ func(any) error) (any, error) {
	command, err := decodeRead(body)
	if err != nil {
		return nil, err
	}
	r, err := s.request(ctx, "count", command)
	if err != nil {
		return nil, err
	}
	answer := wire.CountResult{Type: "result", V: wireVersion, Exact: true}
	err = s.admitted(ctx, r, func(a dataset.Admission) (err error) {
		answer.Rows, answer.From, err = s.planner.Count(ctx, principalOf(ctx).HubToken, r, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// admitted runs what answers a read command, with what that shares with the streams.
// With filters it reads more than footers, and is counted as one of them.
func (s *Server) admitted(ctx context.Context, r dataset.Request, work func(dataset.Admission) error) error {
	if r.Query.Filters != nil {
		leave, err := s.streams.enter()
		if err != nil {
			return err
		}
		defer leave()
	}
	return work(dataset.Admission{
		Lease: func(ctx context.Context, n int64) (func(), error) {
			return s.memory.lease(ctx, n, s.limits.QueueTimeout)
		},
		TryLease: s.memory.tryLease,
		Turns:    turns{s.gate, principalOf(ctx).Name, s.limits.QueueTimeout}, Spare: s.memory.room,
	})
}

func (s *Server) beginAction(ctx context.Context, body []byte, _ func(any) error) (any, error) {
	var r writer.BeginRequest
	if err := s.decodeWrite(ctx, "begin", body, &r, func() (int, string) { return r.V, r.Dataset }); err != nil {
		return nil, err
	}
	result, err := s.writer.Begin(ctx, principalOf(ctx).HubToken, r)
	if err != nil {
		return nil, err
	}
	result.Type, result.V = "result", wireVersion
	return result, nil
}

// commitAction makes a job visible. The writer reports at least every 20 s, one
// report at a time, so the stream is never silent. A client that goes away ends
// the commit; asking again with the same body finds out how far it came and
// finishes it.
func (s *Server) commitAction(ctx context.Context, body []byte, emit func(any) error) (any, error) {
	var r writer.CommitRequest
	if err := s.decodeWrite(ctx, "commit", body, &r, func() (int, string) { return r.V, r.Dataset }); err != nil {
		return nil, err
	}
	result, err := s.writer.Commit(ctx, principalOf(ctx).HubToken, r, func(e writer.CommitEvent) {
		if v := eventBody(e); v != nil {
			_ = emit(v) // a client that is gone has also cancelled ctx
		}
	})
	if err != nil {
		return nil, err
	}
	result.Type, result.V = "result", wireVersion
	return result, nil
}

// eventBody is the JSON form of a commit's report.
func eventBody(e writer.CommitEvent) any {
	switch {
	case e.Progress != nil:
		e.Progress.Type = "progress"
		return e.Progress
	case e.Item != nil:
		e.Item.Type = "item"
		return e.Item
	}
	return nil
}

func (s *Server) abortAction(ctx context.Context, body []byte, _ func(any) error) (any, error) {
	var r struct {
		V   int    `json:"v"`
		Job string `json:"job"`
	}
	if err := decode("abort", body, maxCommand, &r); err != nil {
		return nil, err
	}
	if err := checkVersion("abort", r.V); err != nil {
		return nil, err
	}
	if err := s.writer.Abort(ctx, principalOf(ctx).HubToken, r.Job); err != nil {
		return nil, err
	}
	return map[string]any{"type": "result", "v": wireVersion, "job": r.Job}, nil
}
