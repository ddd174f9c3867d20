package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hubflight/hubflight/source"
)

// What is asked for early, before it is certain that it will be needed or that it
// belongs together, so that a plan takes few round trips. Callers take none of it
// for granted: names are compared with the listing, blobs with their ids, and a
// location with the file that is opened.

// maxBlob bounds what Blob reads.
const maxBlob = 16 << 20

// ResolveWithNames is Resolve, and gives the names of the files of that commit as
// far as the Hub tells them in the same answer. They may be missing: for a full
// sha, which costs no request, or where the list is too long for one answer.
func (d *Dataset) ResolveWithNames(ctx context.Context, revision string) (source.Snapshot, []string, error) {
	if commitID.MatchString(revision) {
		at, err := d.Resolve(ctx, revision)
		return at, nil, err
	}
	info, names, err := d.info(ctx, revision, "sha", "private", "disabled", "gated", "siblings")
	if source.KindOf(err) == source.KindLimit {
		info, err = d.Info(ctx, revision)
	}
	if err != nil {
		return source.Snapshot{}, nil, err
	}
	at, err := d.snapshot(info, revision)
	return at, names, err
}

// Prepare opens connections for several requests that are about to come: to the
// Hub, and to the storage that it named last, which another dataset's files most
// likely are on, too. It returns at once.
func (d *Dataset) Prepare() {
	d.client.early.open(d.client.endpoint.base)
	if storage := d.client.storage.Load(); storage != nil {
		d.client.early.open(storage)
	}
}

// Blob asks once for a small file as git stores it, which for a large file is a
// pointer. Nothing is compared: the caller knows the blob's id, or will.
func (d *Dataset) Blob(ctx context.Context, revision, path string) ([]byte, error) {
	const op = "read blob"
	if revision == "" {
		revision = defaultBranch
	}
	if why := source.ValidateRevision(revision); why != "" {
		return nil, source.Errorf(source.KindInvalid, op, "revision %q %s", source.Clip(revision, 80), why).WithFile(d.repo, path)
	}
	resp, _, err := d.client.follow(ctx, request{
		call: call{token: d.token, buffer: maxBlob, impatient: true}, method: http.MethodGet,
		url: d.client.endpoint.file("raw", d.repo, revision, path), header: http.Header{},
	}, func(_ *http.Response, to *url.URL) bool { return !d.client.endpoint.isOwn(to) })
	if err != nil {
		return nil, d.broken(ctx, op, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, d.refused(op, revision, path, resp)
	}
	raw, err := io.ReadAll(resp.Body) // bounded: the transport buffered it
	if err != nil {
		return nil, d.broken(ctx, op, fmt.Errorf("the answer broke off: %w", err))
	}
	return raw, nil
}

// Locate asks once where a file is, so that the answer is there when the file is
// opened. The same is compared then as without it.
func (d *Dataset) Locate(ctx context.Context, at source.Snapshot, path string) error {
	f := source.File{At: at, Path: path}
	key := d.confirmationKey(f)
	if _, ok := d.client.confirmed.get(key); ok {
		return nil
	}
	where, err := d.askLocation(ctx, f, false)
	if err != nil {
		return err
	}
	d.client.confirmed.put(key, where)
	return nil
}
