package flightsrv_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/hubflight/hubflight/flightsrv"
	"github.com/hubflight/hubflight/flightsrv/client"
	"github.com/hubflight/hubflight/flightsrv/flighttest"
	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/source/hub/hubtest"
	"github.com/hubflight/hubflight/writer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const dataset = "demo/numbers"

// numbers is a repository of two files of 300 rows each.
func numbers(t testing.TB) hubtest.Option {
	return hubtest.Dataset(dataset, map[string][]byte{
		"data/train-00000-of-00002.parquet": flighttest.Numbers(t, 0, 300),
		"data/train-00001-of-00002.parquet": flighttest.Numbers(t, 300, 300),
		"data/test-00000-of-00001.parquet":  flighttest.Numbers(t, 1000, 50),
	})
}

// raw is a bare Flight client, as any program has one.
func raw(t testing.TB, f *flighttest.Fixture, options ...grpc.DialOption) flight.FlightServiceClient {
	t.Helper()
	target, unix := strings.CutPrefix(f.Location, "grpc+")
	if !unix {
		target = "dns:///" + strings.TrimPrefix(f.Location, "grpc://")
	}
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return flight.NewFlightServiceClient(conn)
}

func command(text string) *flight.FlightDescriptor {
	return &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte(text)}
}

// ids reads a ticket and returns the values of column id.
func ids(t testing.TB, c flight.FlightServiceClient, ticket []byte, headers ...string) ([]int64, *arrow.Schema, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), headers...))
	defer cancel()
	stream, err := c.DoGet(ctx, &flight.Ticket{Ticket: ticket})
	if err != nil {
		return nil, nil, err
	}
	r, err := flight.NewRecordReader(stream)
	if err != nil {
		return nil, nil, err
	}
	defer r.Release()
	var out []int64
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, r.Schema(), nil
		}
		if err != nil {
			return out, r.Schema(), err
		}
		if at := rec.Schema().FieldIndices("id"); len(at) == 1 {
			out = append(out, rec.Column(at[0]).(*array.Int64).Int64Values()...)
		}
	}
}

func span(first, n int64) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = first + int64(i)
	}
	return out
}

func TestAPlanHasOneEndpointPerFileAndSaysWhatItIs(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	info, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers"}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Endpoint) != 2 || info.TotalRecords != 600 || info.TotalBytes <= 0 || !info.Ordered {
		t.Errorf("%d endpoints, %d rows, %d bytes, ordered=%v", len(info.Endpoint), info.TotalRecords, info.TotalBytes, info.Ordered)
	}
	var facts map[string]any
	if err := json.Unmarshal(info.AppMetadata, &facts); err != nil {
		t.Fatal(err)
	}
	sha, _ := facts["sha"].(string)
	if len(sha) != 40 {
		t.Errorf("sha is %q", sha)
	}
	for key, want := range map[string]any{"v": 1.0, "dataset": dataset, "revision": "main", "data_sha": sha, "config": "default", "split": "train",
		"source": "native", "partial": false, "rows_exact": true, "files_total": 2.0, "files_kept": 2.0} {
		if facts[key] != want {
			t.Errorf("app_metadata %s is %v, want %v", key, facts[key], want)
		}
	}
	var endpoint map[string]any
	if err := json.Unmarshal(info.Endpoint[1].AppMetadata, &endpoint); err != nil {
		t.Fatal(err)
	}
	if endpoint["file"] != "data/train-00001-of-00002.parquet" || endpoint["rows"] != 300.0 || endpoint["rows_exact"] != true || endpoint["split"] != "train" {
		t.Errorf("endpoint metadata is %v", endpoint)
	}
	again, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers"}`))
	if err != nil || string(again.Endpoint[0].Ticket.Ticket) != string(info.Endpoint[0].Ticket.Ticket) {
		t.Errorf("the same plan gave another ticket (%v)", err)
	}
}

func TestSchemaInfoAndStreamAgree(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	for _, text := range []string{
		`{"v":1,"dataset":"demo/numbers"}`,
		`{"v":1,"dataset":"demo/numbers","profile":"spark","columns":["name","id"]}`,
		`{"v":1,"dataset":"demo/numbers","filters":[["id","=",-1]]}`,
	} {
		info, err := c.GetFlightInfo(t.Context(), command(text))
		if err != nil {
			t.Fatal(err)
		}
		result, err := c.GetSchema(t.Context(), command(text))
		if err != nil || string(result.Schema) != string(info.Schema) {
			t.Errorf("%s: GetSchema and GetFlightInfo differ (%v)", text, err)
		}
		planned, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		facts, ok := planned.Metadata().GetValue("hubflight")
		if !ok || !strings.Contains(facts, `"split":"train"`) || !strings.Contains(facts, `"source":"native"`) {
			t.Errorf("the schema's facts are %q", facts)
		}
		for _, e := range info.Endpoint {
			_, streamed, err := ids(t, c, e.Ticket.Ticket)
			if err != nil || !streamed.Equal(planned) || fmt.Sprint(streamed.Metadata()) != fmt.Sprint(planned.Metadata()) {
				t.Errorf("%s: the stream's schema differs (%v)\n%v\n%v", text, err, streamed, planned)
			}
		}
	}
}

func TestSkipAndStopRowsAreExact(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	info, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers","batch_rows":37}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, skip := range []int64{0, 1, 36, 37, 38, 99, 100, 101, 299, 300, 301} {
		want := span(skip, max(0, 300-skip))
		if got, _, err := ids(t, c, info.Endpoint[0].Ticket.Ticket, "x-hubflight-skip-rows", fmt.Sprint(skip)); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("skip %d: %d rows, %v", skip, len(got), err)
		}
	}
	got, _, err := ids(t, c, info.Endpoint[0].Ticket.Ticket, "x-hubflight-skip-rows", "90", "x-hubflight-stop-rows", "110")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(span(90, 20)) {
		t.Errorf("skip 90, stop 110: %v, %v", got, err)
	}
	if _, _, err := ids(t, c, info.Endpoint[0].Ticket.Ticket, "x-hubflight-skip-rows", "-1"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("skip −1: %v", err)
	}
}

// A client may resume a broken stream at any row, of a filtered stream too.
func TestResumingIsExactAtEveryRow(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	for filters, want := range map[string][]int64{"": span(0, 300), `,"filters":[["id",">=",33],["name","not in",["name 41"]]]`: append(span(33, 8), span(42, 258)...)} {
		info, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers","batch_rows":37`+filters+`}`))
		if err != nil {
			t.Fatal(err)
		}
		for skip := range len(want) + 2 {
			got, _, err := ids(t, c, info.Endpoint[0].Ticket.Ticket, "x-hubflight-skip-rows", fmt.Sprint(skip))
			if rest := want[min(skip, len(want)):]; err != nil || fmt.Sprint(got) != fmt.Sprint(rest) {
				t.Fatalf("filters %q, skip %d: %d rows, want %d (%v)", filters, skip, len(got), len(rest), err)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	for text, want := range map[string][]int64{
		`"limit":0`:                             {},
		`"limit":250`:                           span(0, 250),
		`"limit":350`:                           span(0, 350),
		`"limit":900`:                           span(0, 600),
		`"limit":5,"filters":[["id",">=",298]]`: span(298, 5),
	} {
		var read client.Read
		if err := json.Unmarshal([]byte(`{"v":1,"dataset":"demo/numbers",`+text+`}`), &read); err != nil {
			t.Fatal(err)
		}
		if got := scanIDs(t, f.Client.Dataset(read), client.ScanOptions{Ordered: true}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d rows: %v", text, len(got), got)
		}
	}
}

// A limit may be resumed at any of its rows, over the border of two files, with a
// filter and without, and what comes never goes beyond it.
func TestResumingALimitIsExactAtEveryRow(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	for text, want := range map[string][][]int64{
		`"limit":340`: {span(0, 300), span(300, 40)},
		`"limit":90,"filters":[["id",">=",255],["name","not in",["name 299","name 301"]]]`: {append(append(span(255, 44), 300), span(302, 45)...)},
	} {
		info, err := c.GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers","batch_rows":7,`+text+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(info.Endpoint) != len(want) {
			t.Fatalf("%s: %d endpoints", text, len(info.Endpoint))
		}
		last := len(want) - 1
		if got, _, err := ids(t, c, info.Endpoint[0].Ticket.Ticket); err != nil || fmt.Sprint(got) != fmt.Sprint(want[0]) {
			t.Errorf("%s: %d rows of the first endpoint, %v", text, len(got), err)
		}
		rows := want[last]
		for skip := range len(rows) + 2 {
			for _, stop := range []int{len(rows) + 10, len(rows) / 2} {
				got, _, err := ids(t, c, info.Endpoint[last].Ticket.Ticket, "x-hubflight-skip-rows", fmt.Sprint(skip), "x-hubflight-stop-rows", fmt.Sprint(stop))
				end := min(stop, len(rows))
				if rest := rows[min(skip, end):end]; err != nil || fmt.Sprint(got) != fmt.Sprint(rest) {
					t.Fatalf("%s, skip %d, stop %d: %d rows, want %d (%v)", text, skip, stop, len(got), len(rest), err)
				}
			}
		}
	}
}

func scanIDs(t testing.TB, d *client.Dataset, o client.ScanOptions) []int64 {
	t.Helper()
	out := []int64{}
	for rec, err := range d.Scan(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec.Column(rec.Schema().FieldIndices("id")[0]).(*array.Int64).Int64Values()...)
	}
	return out
}

func TestTheClientReadsEveryRowOnceInParallelAndInOrder(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	d := f.Client.Dataset(client.Read{Dataset: dataset, BatchRows: 13})
	if got := scanIDs(t, d, client.ScanOptions{Ordered: true, Parallel: 2}); fmt.Sprint(got) != fmt.Sprint(span(0, 600)) {
		t.Errorf("ordered: %d rows", len(got))
	}
	seen := map[int64]bool{}
	for _, id := range scanIDs(t, d, client.ScanOptions{Parallel: 2}) {
		if seen[id] {
			t.Fatalf("row %d came twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 600 {
		t.Errorf("%d rows", len(seen))
	}
	for _, err := range d.Scan(t.Context(), client.ScanOptions{}) { // leaving early must end everything (goleak)
		if err != nil {
			t.Fatal(err)
		}
		break
	}
}

func TestLocalFoldersAreDatasetsBelowTheRootsOnly(t *testing.T) {
	f := flighttest.New(t)
	name := f.Folder("flights", map[string][]byte{"data/train-00000-of-00001.parquet": flighttest.Numbers(t, 0, 120)})
	if got := scanIDs(t, f.Client.Dataset(client.Read{Dataset: name}), client.ScanOptions{}); len(got) != 120 {
		t.Errorf("%d rows", len(got))
	}
	_, err := f.Client.Dataset(client.Read{Dataset: "file:///etc"}).Plan(t.Context())
	if source.KindOf(err) != source.KindDenied || strings.Contains(err.Error(), f.Root) {
		t.Errorf("got %v", err)
	}
}

func TestALocalFileThatChangedIsNotServed(t *testing.T) {
	f := flighttest.New(t)
	name := f.Folder("d", map[string][]byte{"data/train-00000-of-00001.parquet": flighttest.Numbers(t, 0, 120)})
	plan, err := f.Client.Dataset(client.Read{Dataset: name}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Folder("d", map[string][]byte{"data/train-00000-of-00001.parquet": flighttest.Numbers(t, 500, 130)})
	_, _, err = ids(t, raw(t, f), plan.Partitions[0].Ticket)
	if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "[changed]") {
		t.Errorf("got %v", err)
	}
}

// TestErrors is wire.md §10: the text's form, the code, the details and the
// trailer.
func TestErrors(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	for name, e := range map[string]struct {
		command string
		code    codes.Code
		texts   []string
	}{
		"unknown repository": {`{"v":1,"dataset":"demo/nothing"}`, codes.NotFound, []string{"[not_found] ", "demo/nothing"}},
		"unknown revision":   {`{"v":1,"dataset":"demo/numbers","revision":"v9"}`, codes.NotFound, []string{"[not_found] ", "v9"}},
		"unknown split":      {`{"v":1,"dataset":"demo/numbers","split":"valid"}`, codes.NotFound, []string{"valid", "train", "test"}},
		"unknown column":     {`{"v":1,"dataset":"demo/numbers","columns":["nme"]}`, codes.InvalidArgument, []string{"[invalid] ", "nme", "name"}},
		"wrong literal":      {`{"v":1,"dataset":"demo/numbers","filters":[["id","=","x"]]}`, codes.InvalidArgument, []string{"int64", "string"}},
		"unknown key":        {`{"v":1,"dataset":"demo/numbers","colums":["id"]}`, codes.InvalidArgument, []string{`did you mean "columns"?`}},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "req-7")
			_, err := c.GetFlightInfo(ctx, command(e.command), grpc.Trailer(&trailer))
			st := status.Convert(err)
			if st.Code() != e.code {
				t.Errorf("code %v, want %v: %v", st.Code(), e.code, err)
			}
			for _, text := range append(e.texts, "(request req-7)") {
				if !strings.Contains(st.Message(), text) {
					t.Errorf("the text does not say %q: %s", text, st.Message())
				}
			}
			if len(trailer.Get("x-arrow-status")) == 0 {
				t.Error("no x-arrow-status trailer")
			}
			if len(st.Details()) == 0 {
				t.Fatal("no details")
			}
			if info, ok := st.Details()[0].(*errdetails.ErrorInfo); !ok || info.Domain != "hubflight" || strings.ToLower(info.Reason) != strings.SplitN(st.Message()[1:], "]", 2)[0] {
				t.Errorf("details %v", st.Details())
			}
		})
	}
}

func TestTheLogHasOneLinePerCallWithItsRequestAndTrace(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	const trace = "0af7651916cd43dd8448eb211c80319c"
	var header metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-b7ad6b7169203331-01", "x-request-id", "not a word")
	if _, err := raw(t, f).GetFlightInfo(ctx, command(`{"v":1,"dataset":"demo/numbers"}`), grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	id := header.Get("x-request-id")
	if len(id) != 1 || id[0] == "not a word" {
		t.Fatalf("the request id is %q", id)
	}
	lines := 0
	for _, line := range strings.Split(f.Log.String(), "\n") {
		if strings.Contains(line, "msg=rpc") {
			lines++
			if !strings.Contains(line, "request="+id[0]) || !strings.Contains(line, "trace="+trace) || !strings.Contains(line, "rpc=GetFlightInfo") {
				t.Errorf("the line is %s", line)
			}
		}
	}
	if lines != 1 {
		t.Errorf("%d lines for one call", lines)
	}
}

func TestAHubThatFailsIsTryLater(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	if err := f.Hub.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := raw(t, f).GetFlightInfo(t.Context(), command(`{"v":1,"dataset":"demo/numbers"}`))
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || !strings.Contains(st.Message(), "[upstream]") {
		t.Fatalf("got %v", err)
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() > 0 {
			return
		}
	}
	t.Errorf("no RetryInfo in %v", st.Details())
}

func TestAPlanLargerThanTheClientCanReceiveIsRefused(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-hubflight-max-info", "700")
	_, err := raw(t, f).GetFlightInfo(ctx, command(`{"v":1,"dataset":"demo/numbers"}`))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "x-hubflight-max-info") {
		t.Errorf("got %v", err)
	}
}

func TestActionsAreWhatListActionsSays(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	stream, err := c.ListActions(t.Context(), &flight.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for {
		a, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, a.Type)
	}
	if got := strings.Join(names, " "); got != "abort begin commit count explain jobs parquet splits version" {
		t.Errorf("the actions are %s", got)
	}
	if err := f.Client.Action(t.Context(), "explian", struct{}{}, &struct{}{}, nil); source.KindOf(err) != source.KindUnsupported || !strings.Contains(err.Error(), `did you mean "explain"?`) {
		t.Errorf("got %v", err)
	}
	v, err := f.Client.Version(t.Context())
	if err != nil || v.Version != "test" || len(v.Wire) != 1 || v.HubEndpoint != f.Hub.HubURL {
		t.Errorf("version: %+v, %v", v, err)
	}
}

func TestSplitsCountAndExplain(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	sha, splits, err := f.Client.Splits(t.Context(), dataset, "")
	if err != nil || len(sha) != 40 || len(splits) != 2 || splits[0].Split != "train" || splits[0].Files != 2 || splits[1].Split != "test" {
		t.Errorf("splits: %s %+v %v", sha, splits, err)
	}
	filtered := client.Read{Dataset: dataset, Filters: json.RawMessage(`[["id",">=",250],["id","<",320]]`)}
	if n, err := f.Client.Dataset(filtered).Count(t.Context()); err != nil || n != 70 {
		t.Errorf("count: %d, %v", n, err)
	}
	if n, err := f.Client.Dataset(client.Read{Dataset: dataset}).Count(t.Context()); err != nil || n != 600 {
		t.Errorf("count: %d, %v", n, err)
	}
	for from, read := range map[string]client.Read{"footers": {Dataset: dataset}, "scan": filtered} {
		if n, err := f.Client.Dataset(read).Counted(t.Context()); err != nil || n.From != from || !n.Exact {
			t.Errorf("counted: %+v, %v; want it from %s", n, err, from)
		}
	}
	e, err := f.Client.Dataset(filtered).Explain(t.Context())
	if err != nil || e.Totals.GroupsTotal != 6 || e.Totals.GroupsKept != 2 || len(e.Files) != 2 || e.Totals.RowsKept != 200 {
		t.Fatalf("explain: %+v, %v", e, err)
	}
	if g := e.Files[0].Groups[2]; !g.Kept || g.Candidates <= 0 || g.Candidates > g.Rows || g.Read <= 0 || g.Read > g.Bytes || e.Totals.BytesRead <= 0 {
		t.Errorf("a row group that is read: %+v of %+v", g, e.Totals)
	}
	if g := e.Files[0].Groups[0]; g.Kept || g.Layer != "statistics" || g.Bytes <= 0 {
		t.Errorf("the first row group: %+v", g)
	}
}

func TestListFlightsNeedsADatasetAndListsItsSplits(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)))
	c := raw(t, f)
	list := func(expression string) (n int, err error) {
		stream, err := c.ListFlights(t.Context(), &flight.Criteria{Expression: []byte(expression)})
		for err == nil {
			var info *flight.FlightInfo
			if info, err = stream.Recv(); err == nil {
				n++
				if _, perr := c.GetFlightInfo(t.Context(), info.FlightDescriptor); perr != nil {
					t.Errorf("a listed flight cannot be planned: %v", perr)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	if n, err := list(`{"dataset":"demo/numbers"}`); n != 2 || err != nil {
		t.Errorf("%d flights, %v", n, err)
	}
	if _, err := list(""); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// Generic clients shake hands first: they are told how to do without.
func TestAHandshakeIsToldWhereItsTokenGoes(t *testing.T) {
	stream, err := raw(t, flighttest.New(t)).Handshake(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "authorization: Bearer") {
		t.Errorf("got %v", err)
	}
}

func TestHealthIsServedToAnybody(t *testing.T) {
	f := flighttest.New(t, flighttest.Auth(flightsrv.Auth{Mode: flightsrv.AuthHub}))
	conn, err := grpc.NewClient("dns:///"+strings.TrimPrefix(f.Location, "grpc://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", answer, err)
	}
}

// TestWhoMayCall is the matrix of modes and credentials over every RPC that
// touches data.
func TestWhoMayCall(t *testing.T) {
	const canary = "hf_canaryCANARYcanary"
	digest := sha256.Sum256([]byte("server-secret"))
	reader := sha256.Sum256([]byte("reader-secret"))
	auth := flightsrv.Auth{Mode: flightsrv.AuthToken, AcceptClientToken: true}
	lines := "ana " + hex.EncodeToString(digest[:]) + " write demo/*\nbob " + hex.EncodeToString(reader[:]) + " read other/*\n"
	if err := auth.ReadTokenFile(strings.NewReader(lines)); err != nil {
		t.Fatal(err)
	}
	f := flighttest.New(t, flighttest.Hub(numbers(t), hubtest.Tokens(map[string]hubtest.Rights{canary: hubtest.Write})), flighttest.Auth(auth))
	c := raw(t, f)
	calls := map[string]func(ctx context.Context) error{
		"GetFlightInfo": func(ctx context.Context) error {
			_, err := c.GetFlightInfo(ctx, command(`{"v":1,"dataset":"demo/numbers"}`))
			return err
		},
		"GetSchema": func(ctx context.Context) error {
			_, err := c.GetSchema(ctx, command(`{"v":1,"dataset":"demo/numbers"}`))
			return err
		},
		"ListFlights": func(ctx context.Context) error {
			s, err := c.ListFlights(ctx, &flight.Criteria{Expression: []byte(`{"dataset":"demo/numbers"}`)})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"DoGet": func(ctx context.Context) error {
			s, err := c.DoGet(ctx, &flight.Ticket{Ticket: []byte(`{"v":1,"ref":"demo/numbers","sha":"` + strings.Repeat("0", 40) + `","path":"a.parquet","etag":"x"}`)})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"DoAction": func(ctx context.Context) error {
			s, err := c.DoAction(ctx, &flight.Action{Type: "splits", Body: []byte(`{"dataset":"demo/numbers"}`)})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		},
		"DoPut": func(ctx context.Context) error {
			s, err := c.DoPut(ctx)
			if err == nil {
				_ = s.Send(&flight.FlightData{FlightDescriptor: command(`{"v":1,"op":"stage","job":"01890000-0000-7000-8000-000000000000","dataset":"demo/numbers","mode":"append"}`)})
				_, err = s.Recv()
			}
			return err
		},
	}
	for name, call := range calls {
		for who, c := range map[string]struct {
			headers []string
			code    codes.Code
		}{
			"nobody":               {nil, codes.Unauthenticated},
			"a wrong secret":       {[]string{"authorization", "Bearer nonsense"}, codes.Unauthenticated},
			"a Hub token as ours":  {[]string{"authorization", "Bearer " + canary}, codes.Unauthenticated},
			"another scheme":       {[]string{"authorization", "Basic YTpi"}, codes.Unauthenticated},
			"rights for elsewhere": {[]string{"authorization", "Bearer reader-secret"}, codes.PermissionDenied},
		} {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), c.headers...), 10*time.Second)
			// Of a text that looks like a credential only the half is told.
			if err := call(ctx); status.Code(err) != c.code || strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("%s by %s: %v, want %v", name, who, err, c.code)
			}
			cancel()
		}
	}
	good := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer server-secret", "x-hubflight-hub-token", canary)
	if err := calls["GetFlightInfo"](good); err != nil {
		t.Errorf("the good credentials were refused: %v", err)
	}
	if strings.Contains(f.Log.String(), canary) || strings.Contains(f.Log.String(), "server-secret") {
		t.Error("a token is in the log")
	}
}

func TestWhoMayOnlyReadWritesNothing(t *testing.T) {
	reader := sha256.Sum256([]byte("reader-secret"))
	auth := flightsrv.Auth{Mode: flightsrv.AuthToken, OwnHubToken: source.NewHubToken("hf_ofTheServer")}
	if err := auth.ReadTokenFile(strings.NewReader("bob " + hex.EncodeToString(reader[:]) + " read demo/*\n")); err != nil {
		t.Fatal(err)
	}
	f := flighttest.New(t, flighttest.Hub(numbers(t)), flighttest.Auth(auth))
	head := must(f.Hub.Head(dataset, "main"))
	c, ctx := raw(t, f), metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer reader-secret")
	if _, err := c.GetFlightInfo(ctx, command(`{"v":1,"dataset":"demo/numbers"}`)); err != nil {
		t.Fatal(err)
	}
	const job = `"job":"01890000-0000-7000-8000-000000000000","dataset":"demo/numbers","mode":"append"`
	for _, op := range []string{"stage", "write"} {
		s, err := c.DoPut(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all := encoded(t, texts(t))
		all[0].FlightDescriptor = command(`{"v":1,"op":"` + op + `",` + job + `}`)
		for _, m := range all {
			_ = s.Send(m) // who is refused is told by Recv
		}
		_ = s.CloseSend()
		if _, err = s.Recv(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "may only read") {
			t.Errorf("%s: %v", op, err)
		}
	}
	for action, more := range map[string]string{"begin": "", "commit": `,"files":[],"base":"` + head + `"`} {
		s, err := c.DoAction(ctx, &flight.Action{Type: action, Body: []byte(`{"v":1,` + job + more + `}`)})
		if err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "may only read") {
			t.Errorf("%s: %v", action, err)
		}
	}
	if now := must(f.Hub.Head(dataset, "main")); now != head {
		t.Errorf("the head moved to %s", now)
	}
}

func TestARevokedTokenIsAClearErrorAndNeverRows(t *testing.T) {
	const token = "hf_goodGOODgoodGOOD"
	hub := []hubtest.Option{numbers(t), hubtest.Tokens(map[string]hubtest.Rights{token: hubtest.Read}), hubtest.WithSettings(dataset, hubtest.Settings{Private: true})}
	f := flighttest.New(t, flighttest.Hub(hub...), flighttest.Tokens("", token))
	plan, err := f.Client.Dataset(client.Read{Dataset: dataset}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := client.Dial(t.Context(), f.Location, client.Options{HubToken: source.NewHubToken("hf_revokedREVOKED")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	for name, c := range map[string]*client.Client{"revoked": stranger, "anonymous": anonymous(t, f)} {
		for rec, err := range c.ScanPlan(t.Context(), plan, client.ScanOptions{RetryFor: time.Millisecond}) {
			if rec != nil {
				t.Fatalf("%s: rows were served with another's ticket", name)
			}
			if k := source.KindOf(err); k != source.KindUnauthenticated && k != source.KindNotFound && k != source.KindDenied {
				t.Errorf("%s: %v", name, err)
			}
			if strings.Contains(err.Error(), "hf_") {
				t.Errorf("%s: the error shows a token: %v", name, err)
			}
		}
	}
}

func anonymous(t *testing.T, f *flighttest.Fixture) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), f.Location, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestTooManyStreamsAreBusy(t *testing.T) {
	f := flighttest.New(t, flighttest.Hub(numbers(t)), flighttest.Limits(flightsrv.Limits{MaxStreams: 1}))
	c := raw(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	put, err := c.DoPut(ctx) // an open stream whose client sends nothing
	if err != nil {
		t.Fatal(err)
	}
	plan, err := f.Client.Dataset(client.Read{Dataset: dataset}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ids(t, c, plan.Partitions[0].Ticket); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "[busy]") {
		t.Errorf("got %v", err)
	}
	scanned := f.Client.Dataset(client.Read{Dataset: dataset, Filters: json.RawMessage(`[["id",">=",0]]`)})
	if _, err := scanned.Count(t.Context()); source.KindOf(err) != source.KindBusy {
		t.Errorf("count: got %v", err)
	}
	if _, err := scanned.Explain(t.Context()); source.KindOf(err) != source.KindBusy {
		t.Errorf("explain: got %v", err)
	}
	cancel()
	_, _ = put.Recv() // wait until the stream is gone
	if got := scanIDs(t, f.Client.Dataset(client.Read{Dataset: dataset}), client.ScanOptions{Parallel: 1}); len(got) != 600 {
		t.Errorf("%d rows after the stream ended", len(got))
	}
}

func TestManyStreamsShareLittleMemoryAndAllFinish(t *testing.T) {
	// Room for one scan and one decode slot.
	f := flighttest.New(t, flighttest.Hub(numbers(t)), flighttest.Limits(flightsrv.Limits{ScanMemory: 1, DecodeSlots: 1}))
	c := raw(t, f)
	plan, err := f.Client.Dataset(client.Read{Dataset: dataset}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A reader that takes its schema and nothing else still lets others in once
	// it goes; its schema does not wait for memory.
	idle, cancel := context.WithCancel(t.Context())
	var open []*flight.Reader
	for range 3 {
		stream, err := c.DoGet(idle, &flight.Ticket{Ticket: plan.Partitions[0].Ticket})
		if err != nil {
			t.Fatal(err)
		}
		r, err := flight.NewRecordReader(stream)
		if err != nil {
			t.Fatalf("the schema did not come at once: %v", err)
		}
		open = append(open, r)
	}
	cancel()
	for _, r := range open {
		r.Release()
	}
	var readers sync.WaitGroup
	for range 50 {
		readers.Go(func() {
			if got, _, err := ids(t, c, plan.Partitions[1].Ticket); err != nil || len(got) != 300 {
				t.Errorf("%d rows, %v", len(got), err)
			}
		})
	}
	readers.Wait()
}

// What an open stream holds is the others' to wait for, and theirs when it has ended.
func TestAStreamThatGetsNoMemoryIsBusy(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{ScanMemory: 1, QueueTimeout: 50 * time.Millisecond}))
	plan, err := f.Client.Dataset(client.Read{Dataset: f.Folder("padded", map[string][]byte{"train.parquet": padded(t, 8000)})}).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, ticket := raw(t, f), &flight.Ticket{Ticket: plan.Partitions[0].Ticket}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stalled, err := c.DoGet(ctx, ticket)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the schema, and rows: it has the memory, and keeps it
		if _, err := stalled.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	second := func() error {
		s, err := c.DoGet(t.Context(), ticket)
		for err == nil {
			_, err = s.Recv()
		}
		return err
	}
	if err := second(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no memory became free") {
		t.Errorf("got %v", err)
	}
	cancel()
	waitFor(t, func() bool { return errors.Is(second(), io.EOF) }, func() string { return "its memory is not given back" })
}

func TestAStreamWithoutProgressIsEnded(t *testing.T) {
	f := flighttest.New(t, flighttest.Limits(flightsrv.Limits{IdleTimeoutPut: 50 * time.Millisecond}))
	put, err := raw(t, f).DoPut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put.Recv(); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "no progress") {
		t.Errorf("got %v", err)
	}
}

func TestWritingIsStageAndCommit(t *testing.T) {
	f := flighttest.New(t)
	const job = "01890000-0000-7000-8000-000000000001"
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	rows := func(first, n int64) iter.Seq2[arrow.RecordBatch, error] {
		return func(yield func(arrow.RecordBatch, error) bool) {
			rec := record(schema, first, n)
			defer rec.Release()
			yield(rec, nil)
		}
	}
	ctx := t.Context()
	begun, err := f.Client.Begin(ctx, writer.BeginRequest{V: 1, Job: job, Dataset: "demo/out", Mode: "append", CreateRepo: true})
	if err != nil {
		t.Fatal(err)
	}
	var files []writer.StagedFile
	for p := range 3 {
		staged, err := f.Client.Stage(ctx, writer.StageRequest{V: 1, Job: job, Dataset: "demo/out", Revision: begun.Revision, Base: begun.Base, Mode: "append", Partition: p, Attempt: "0"}, schema, rows(int64(p)*100, 100), nil)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, staged.Files...)
	}
	if _, err := f.Client.Dataset(client.Read{Dataset: "demo/out"}).Plan(ctx); err == nil {
		t.Error("staged rows are visible before the commit")
	}
	request := writer.CommitRequest{V: 1, Job: job, Dataset: "demo/out", Revision: begun.Revision, Base: begun.Base, Mode: "append", Files: files}
	result, err := f.Client.Commit(ctx, request, nil)
	if err != nil || result.Rows != 300 || result.Already || !result.Resolves {
		t.Fatalf("commit: %+v, %v", result, err)
	}
	again, err := f.Client.Commit(ctx, request, nil)
	if err != nil || !again.Already || again.Head != result.Head {
		t.Errorf("the repeated commit: %+v, %v", again, err)
	}
	if got := scanIDs(t, f.Client.Dataset(client.Read{Dataset: "demo/out"}), client.ScanOptions{Ordered: true}); fmt.Sprint(got) != fmt.Sprint(span(0, 300)) {
		t.Errorf("read back %d rows", len(got))
	}
	one, err := f.Client.Write(ctx, writer.WriteRequest{V: 1, Job: "01890000-0000-7000-8000-000000000002", Dataset: "demo/out", Mode: "append"}, schema, rows(300, 50), nil)
	if err != nil || one.Rows != 50 {
		t.Fatalf("write: %+v, %v", one, err)
	}
	if n, err := f.Client.Dataset(client.Read{Dataset: "demo/out"}).Count(ctx); err != nil || n != 350 {
		t.Errorf("after the append: %d rows, %v", n, err)
	}
	if err := f.Client.Abort(ctx, job); err != nil {
		t.Errorf("abort: %v", err)
	}
}

func record(schema *arrow.Schema, first, n int64) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(first + i)
	}
	return b.NewRecordBatch()
}

func TestAnInputThatFailsStagesNothing(t *testing.T) {
	f := flighttest.New(t)
	boom := errors.New("the input broke")
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	_, err := f.Client.Write(t.Context(), writer.WriteRequest{V: 1, Job: "01890000-0000-7000-8000-000000000003", Dataset: "demo/broken", Mode: "append", CreateRepo: true}, schema,
		func(yield func(arrow.RecordBatch, error) bool) {
			rec := record(schema, 0, 10)
			defer rec.Release()
			if yield(rec, nil) {
				yield(nil, boom)
			}
		}, nil)
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if _, err := f.Client.Dataset(client.Read{Dataset: "demo/broken"}).Plan(t.Context()); err == nil {
		t.Error("half an input was committed")
	}
}
