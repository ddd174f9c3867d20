package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hubflight/hubflight/source"
)

const (
	parallelObjects = 4
	parallelParts   = 4
	maxUploadTries  = 3 // rounds of batch + PUT for one object
	// Storage may take long to assemble what it was sent.
	uploadAnswer = 2 * time.Minute
)

// UploadLFS stores objects, so that a commit can name them. Nothing becomes
// visible by it. Objects that are stored already are not sent. progress, if not
// nil, is told how many bytes have been sent in all; it is called from several
// goroutines, one at a time, with a number that never falls.
//
// An address that expired is replaced by asking for a new one, never tried
// again.
func (d *Dataset) UploadLFS(ctx context.Context, revision string, objects []LFSObject, progress func(sent int64)) error {
	const op = "upload"
	objects, err := d.distinct(op, objects)
	if err != nil {
		return err
	}
	meter := &meter{report: progress}
	for chunk := range slices.Chunk(objects, maxBatch) {
		answers, err := d.batch(ctx, revision, chunk)
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(parallelObjects)
		for _, o := range chunk {
			group.Go(guarded(op, func() error { return d.store(ctx, revision, o, answers[o.OID], meter.part()) }))
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// LFSAddress is where an object is to be sent to, or that it is stored already.
type LFSAddress struct{ answer batchObject }

// LFSAddress asks where to send an object; what is not sent then is not stored.
// SendLFS is to follow soon: addresses live for minutes.
func (d *Dataset) LFSAddress(ctx context.Context, revision string, o LFSObject) (LFSAddress, error) {
	objects, err := d.distinct("upload", []LFSObject{o})
	if err != nil {
		return LFSAddress{}, err
	}
	answers, err := d.batch(ctx, revision, objects)
	return LFSAddress{answers[o.OID]}, err
}

// SendLFS is UploadLFS for an object whose address is known.
func (d *Dataset) SendLFS(ctx context.Context, revision string, o LFSObject, to LFSAddress, progress func(sent int64)) error {
	return d.store(ctx, revision, o, to.answer, (&meter{report: progress}).part())
}

// guarded turns a panic in a goroutine into an error.
func guarded(op string, f func() error) func() error {
	return func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = source.Errorf(source.KindInternal, op, "panic: %v\n%s", p, debug.Stack())
			}
		}()
		return f()
	}
}

// store sends one object, asking for a new address when the present one is
// refused.
func (d *Dataset) store(ctx context.Context, revision string, o LFSObject, at batchObject, sent *metered) error {
	for try := 1; ; try++ {
		if at.stored() {
			return nil
		}
		err := d.put(ctx, o, at, sent)
		if err == nil {
			return d.verify(ctx, o, at)
		}
		var a *answeredError
		if ctx.Err() != nil || !errors.As(err, &a) || a.status >= 500 || try == maxUploadTries {
			return err
		}
		answers, again := d.batch(ctx, revision, []LFSObject{o})
		if again != nil {
			return again
		}
		at = answers[o.OID]
	}
}

func (d *Dataset) put(ctx context.Context, o LFSObject, at batchObject, sent *metered) error {
	upload := *at.Actions.Upload
	parts, err := upload.parts(o.Size)
	if err != nil {
		return source.Errorf(source.KindUpstream, "upload", "the Hub's upload instructions: %w", err).WithFile(d.repo, "")
	}
	if parts == nil {
		_, err := d.putRange(ctx, o, part{number: 1, href: upload.Href, size: o.Size}, upload.putHeader(), sent)
		return err
	}
	etags := make([]string, len(parts))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallelParts)
	for i, p := range parts {
		group.Go(guarded("upload", func() error {
			etag, err := d.putRange(groupCtx, o, p, nil, sent)
			if err == nil && etag == "" {
				err = source.Errorf(source.KindUpstream, "upload", "storage gave no ETag for part %d", p.number).WithFile(d.repo, "")
			}
			etags[i] = etag
			return err
		}))
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return d.complete(ctx, o, upload.Href, etags)
}

// putRange sends a range of an object to storage, without any token, and returns
// the answer's ETag as it is.
func (d *Dataset) putRange(ctx context.Context, o LFSObject, p part, header http.Header, sent *metered) (etag string, err error) {
	const op = "upload"
	u, err := d.uploadURL(p.href)
	if err != nil {
		return "", d.broken(ctx, op, err)
	}
	resp, err := d.client.send(ctx, request{
		// The answer is read whole: a success that breaks off is no success.
		call:   call{repeatable: true, answerWithin: uploadAnswer, buffer: maxErrorBody},
		method: http.MethodPut, url: u, header: header, length: p.size,
		body: func() (io.ReadCloser, error) { return openRange(o, p, sent) },
	})
	if err != nil {
		return "", d.broken(ctx, op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return "", d.refusedByStorage(op, resp)
	}
	return resp.Header.Get("ETag"), nil
}

// complete tells the Hub that all parts are there. The address is the permission:
// no token goes along, even to the Hub.
func (d *Dataset) complete(ctx context.Context, o LFSObject, href string, etags []string) error {
	const op = "complete upload"
	u, err := d.uploadURL(href)
	if err != nil {
		return d.broken(ctx, op, err)
	}
	type done struct {
		PartNumber int    `json:"partNumber"`
		ETag       string `json:"etag"`
	}
	var ask struct {
		OID   string `json:"oid"`
		Parts []done `json:"parts"`
	}
	ask.OID = o.OID
	for i, etag := range etags {
		ask.Parts = append(ask.Parts, done{i + 1, etag})
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	resp, err := d.client.send(ctx, request{
		call:   call{repeatable: true, answerWithin: uploadAnswer, buffer: maxErrorBody},
		method: http.MethodPost, url: u, body: bytesBody(body), length: int64(len(body)),
		header: http.Header{"Content-Type": {lfsMediaType}, "Accept": {lfsMediaType}},
	})
	if err != nil {
		return d.broken(ctx, op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return d.refusedByStorage(op, resp)
	}
	return nil
}

// verify asks the Hub to check what storage holds. It carries the token, so it
// is only sent to the Hub itself; a verify address elsewhere is left alone, as
// the commit checks again that the object is stored.
func (d *Dataset) verify(ctx context.Context, o LFSObject, at batchObject) error {
	const op = "verify upload"
	if at.Actions.Verify == nil {
		return nil
	}
	u, err := d.uploadURL(at.Actions.Verify.Href)
	if err != nil {
		return d.broken(ctx, op, err)
	}
	if !d.client.endpoint.isOwn(u) {
		d.client.log.DebugContext(ctx, "verify address is not on the hub, left alone", "host", u.Host)
		return nil
	}
	body, err := json.Marshal(map[string]any{"oid": o.OID, "size": o.Size})
	if err != nil {
		return err
	}
	_, err = d.do(ctx, apiCall{
		op: op, method: http.MethodPost, url: u, contentType: "application/json", accept: lfsMediaType, body: body,
		call: call{repeatable: true, answerWithin: time.Minute},
	}, nil)
	if source.KindOf(err) == source.KindNotFound {
		// The dataset is there, or the batch had failed: it is the object that is not.
		return source.Errorf(source.KindUpstream, op, "storage has not kept object %s: %w", source.Clip(o.OID, 12), err).WithFile(d.repo, "")
	}
	return err
}

// refusedByStorage makes the error of storage's answer. Its statuses mean less
// than the Hub's: whatever it refuses, the caller can only try again later.
func (d *Dataset) refusedByStorage(op string, resp *http.Response) *source.Error {
	e := &source.Error{Op: op, Kind: source.KindUpstream, Ref: d.repo, Err: readAnswer(resp)}
	if resp.StatusCode == http.StatusTooManyRequests {
		e.Kind = source.KindBusy
	}
	e.RetryAfter = askedWait(resp)
	return e
}

// openRange opens a range of an object as a request body.
func openRange(o LFSObject, p part, sent *metered) (io.ReadCloser, error) {
	content, err := o.Open()
	if err != nil {
		return nil, source.Errorf(source.KindInternal, "upload", "opening the content: %w", err)
	}
	if p.from > 0 {
		if _, err := content.Seek(p.from, io.SeekStart); err != nil {
			content.Close()
			return nil, source.Errorf(source.KindInternal, "upload", "seeking in the content: %w", err)
		}
	}
	return &rangeBody{content: content, at: p.from, left: p.size, sent: sent, key: p.number}, nil
}

// rangeBody reads exactly a range, and tells a file that ends before it from a
// peer that goes away.
type rangeBody struct {
	content  io.ReadSeekCloser
	at, left int64
	sent     *metered
	key      int
	read     int64
}

// Read is called by a goroutine of the transport, where a panic would end the
// process.
func (b *rangeBody) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("%w: panic: %v", errBodyShort, v)
		}
	}()
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err = b.content.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.read += int64(n)
	b.sent.add(b.key, b.read)
	if errors.Is(err, io.EOF) && b.left > 0 {
		return n, fmt.Errorf("%w: %d bytes are missing", errBodyShort, b.left)
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next call says so
	}
	return n, err
}

func (b *rangeBody) Close() error { return b.content.Close() }

// meter adds up what was sent. A range that is sent twice counts once.
type meter struct {
	mu     sync.Mutex
	total  int64
	report func(int64)
}

// metered is one object's share of a meter.
type metered struct {
	meter *meter
	far   map[int]int64 // part → bytes sent of it at most
}

func (m *meter) part() *metered { return &metered{meter: m, far: map[int]int64{}} }

func (m *metered) add(part int, read int64) {
	m.meter.mu.Lock()
	defer m.meter.mu.Unlock()
	if read <= m.far[part] {
		return
	}
	m.meter.total += read - m.far[part]
	m.far[part] = read
	if m.meter.report != nil {
		m.meter.report(m.meter.total)
	}
}
