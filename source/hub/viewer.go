package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hubflight/hubflight/source"
)

// PublicViewerEndpoint is the dataset viewer of the public Hub. Other Hubs have
// none unless one is configured.
const PublicViewerEndpoint = "https://datasets-server.huggingface.co"

// viewerFor is the viewer that an endpoint has without being told.
func viewerFor(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" && originOf(u) == (origin{scheme: "https", host: "huggingface.co", port: "443"}) {
		return PublicViewerEndpoint
	}
	return ""
}

const (
	opConversion = "conversion"
	// How long whoever asks for a conversion under way should wait before asking
	// again: small datasets take about that long.
	conversionWait = 30 * time.Second
	// A refusal of the viewer that names this code means "not computed yet".
	codeNotReady = "ResponseNotReady"
)

// Conversion asks the dataset viewer for the state of the dataset's conversion to
// Parquet; known is false if there is no viewer to ask. The viewer gets the same
// token as the Hub, and redirects of it are not followed.
//
// Errors: KindNotFound if it has no conversion for this caller, KindBusy if it is
// still being computed (with source.ErrConversionPending as a cause) or the viewer
// limits this caller, KindUnsupported if converting failed, KindUpstream if the
// viewer cannot be reached.
func (d *Dataset) Conversion(ctx context.Context) (c source.Conversion, known bool, err error) {
	if d.client.endpoint.viewer == nil {
		return c, false, nil
	}
	u := *d.client.endpoint.viewer
	u.Path, u.RawPath = u.Path+"/parquet", ""
	u.RawQuery = url.Values{"dataset": {d.repo}}.Encode()
	resp, err := d.askViewer(ctx, &u)
	if err != nil {
		return c, true, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c, true, d.refusedByViewer(resp)
	}
	raw, err := io.ReadAll(resp.Body) // bounded: the transport buffered it
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return c, true, source.Errorf(source.KindUpstream, opConversion, "the dataset viewer's answer is not the JSON expected: %w", err).WithFile(d.repo, "")
	}
	if commit := resp.Header.Get("X-Revision"); commitID.MatchString(commit) {
		c.Commit = commit
	}
	return c, true, nil
}

// askViewer sends the request. The viewer answers 500 for what is not an accident
// as well, so the layer that repeats requests is not used: what names no error
// code is repeated here.
func (d *Dataset) askViewer(ctx context.Context, u *url.URL) (*http.Response, error) {
	b := d.client.retry.start()
	for {
		resp, err := d.client.send(ctx, request{
			call: call{token: d.token, buffer: maxJSON}, method: http.MethodGet, url: u, header: http.Header{"Accept": {"application/json"}},
		})
		floor, again := passing(resp, err)
		if err == nil && resp.Header.Get("X-Error-Code") != "" {
			again = false
		}
		if !again || ctx.Err() != nil || !b.pause(ctx, floor) {
			if err != nil {
				e := d.broken(ctx, opConversion, err)
				if e.Kind == source.KindUpstream {
					e.Msg = "the dataset viewer gives no usable answer: " + source.Clip(err.Error(), maxErrorText)
					e.Hint = `conversion="always" reads the conversion without asking how old it is`
				}
				return nil, e
			}
			return resp, nil
		}
		discard(resp)
	}
}

// refusedByViewer makes the error of an answer that is no listing. It reads the
// answer's body, which the caller closes.
func (d *Dataset) refusedByViewer(resp *http.Response) *source.Error {
	a := readAnswer(resp)
	e := &source.Error{Op: opConversion, Ref: d.repo, Err: a}
	say := func(kind source.Kind, format string, args ...any) *source.Error {
		e.Kind, e.Msg = kind, fmt.Sprintf(format, args...)
		return e
	}
	switch status := resp.StatusCode; {
	case a.code == codeNotReady:
		e.RetryAfter, e.Err = max(askedWait(resp), conversionWait), fmt.Errorf("%w: %w", source.ErrConversionPending, a)
		return say(source.KindBusy, "the Parquet conversion is pending: the dataset viewer is still computing it")
	case status == http.StatusNotImplemented:
		return say(source.KindNotFound, "the dataset viewer does not convert this dataset: %s", a.text)
	case status == http.StatusNotFound, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return say(source.KindNotFound, "the dataset viewer has no conversion of this dataset for this caller: %s", a)
	case status == http.StatusTooManyRequests:
		e.RetryAfter = askedWait(resp)
		return say(source.KindBusy, "the dataset viewer limits this caller's requests")
	case a.code != "":
		return say(source.KindUnsupported, "the Parquet conversion failed: %s (%s)", a.text, a.code)
	}
	return say(source.KindUpstream, "the dataset viewer answered %s", a)
}

// ParquetURLs asks the Hub itself for the addresses of the converted files, as
// config → split → addresses by shard. With a config, or a config and a split,
// only those are asked for. KindNotFound means that there is no conversion (or
// none of that config and split).
func (d *Dataset) ParquetURLs(ctx context.Context, config, split string) (map[string]map[string][]string, error) {
	const op = "list parquet"
	segments := []string{"parquet"}
	out := map[string]map[string][]string{}
	var into any = &out
	var splits map[string][]string
	var urls []string
	if config != "" {
		segments, into = append(segments, config), &splits
		if split != "" {
			segments, into = append(segments, split), &urls
		}
	}
	if _, err := d.do(ctx, apiCall{
		op: op, method: http.MethodGet, url: d.api(segments...), call: call{repeatable: true},
	}, into); err != nil {
		var e *source.Error
		if config != "" && errors.As(err, &e) && e.Kind == source.KindNotFound {
			e.Hint = "without config and split, all that is converted is listed"
		}
		return nil, err
	}
	if urls != nil {
		splits = map[string][]string{split: urls}
	}
	if splits != nil {
		out[config] = splits
	}
	return out, nil
}

// FileURL is the public address of a file: it redirects to the bytes, for whoever
// may read them.
func (d *Dataset) FileURL(revision, path string) string {
	return d.client.endpoint.resolve(d.repo, revision, path).String()
}
