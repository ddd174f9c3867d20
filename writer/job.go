package writer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/hubflight/hubflight/source"
)

// Job is a validated commit: where it goes and the files it consists of.
type Job struct {
	ID       string
	Ref      source.Ref
	Revision string
	Base     string
	Mode     Mode
	Naming   Naming
	Config   string
	Split    string
	// Dir has no slash at either end.
	Dir     string
	Message string
	// Publish is PublishBatches or PublishSwitch.
	Publish string
	// ReplaceFormat deletes the files of a config that is not in Parquet.
	ReplaceFormat bool
	// MaxOperations of one commit; 0 is no limit.
	MaxOperations int
	// MaxContent bounds the bytes of files that travel inside one commit; 0 is no
	// limit. It is the sink's.
	MaxContent int64
	// Deadline bounds the whole commit, quota waits included.
	Deadline time.Duration
	// Files are the files to commit in order: those with rows, or, if a job
	// without rows must still leave a file, one without.
	Files []StagedFile
	// Digest stands for the list of all staged files and what is done with them.
	Digest string

	// schemas reads the schemas of files that are there.
	schemas schemaReader
}

// Rows is the number of rows of all files.
func (j Job) Rows() int64 {
	var n int64
	for _, f := range j.Files {
		n += f.Rows
	}
	return n
}

// Short is the job's suffix in file names: n hex digits of a hash, because a
// UUIDv7's own first digits are the same for a minute.
func (j Job) Short(n int) string {
	sum := sha256.Sum256([]byte(j.ID))
	return hex.EncodeToString(sum[:])[:n]
}

// operations is MaxOperations as a number that can be compared.
func (j Job) operations() int {
	if j.MaxOperations == 0 {
		return math.MaxInt
	}
	return j.MaxOperations
}

// fitting is how many of the first additions one commit can have; at least one. It goes
// by the sizes that the records say: no more of them are unpacked at a time.
func (j Job) fitting(adds []Add) (n int) {
	var content int64
	for n < len(adds) && n < j.operations() {
		content += adds[n].File.inline()
		if n > 0 && j.MaxContent > 0 && content > j.MaxContent {
			break
		}
		n++
	}
	return n
}

// newJob makes the Job of a validated request.
func newJob(r CommitRequest, deadline time.Duration) (Job, error) {
	t := r.target()
	ref, revision, dir, err := t.place()
	if err != nil {
		return Job{}, err
	}
	message := r.Message
	if message == "" {
		message = DefaultMessage
	}
	all := r.Sorted()
	files := chosen(all, keepsFile(t.namingOrDataset(), r.Mode))
	if r.Naming == NamingFile && len(files) > 1 {
		return Job{}, invalid("commit", "the rows are in %d files, those of partitions %s; naming file is one", len(files), partitions(files)).
			WithHint("stage all rows in one partition, or use naming parts")
	}
	return Job{
		ID: r.Job, Ref: ref, Revision: revision, Base: r.Base, Mode: r.Mode, Naming: t.namingOrDataset(), Config: r.Config, Split: t.splitOrTrain(),
		Dir: dir, Message: message, Publish: r.Publish, ReplaceFormat: r.ReplaceFormat, MaxOperations: r.Operations(), Deadline: deadline,
		Files: files, Digest: digest(t, dir, all),
	}, nil
}

// keepsFile reports whether a job without rows leaves a file that shows the
// schema: an append, and whatever adds to something, does not.
func keepsFile(n Naming, m Mode) bool {
	return m == ModeOverwrite || (n != NamingDataset && m != ModeAppend)
}

// chosen leaves out the files without rows; if all are and one must stay, it is
// the first.
func chosen(all []StagedFile, keep bool) []StagedFile {
	var files []StagedFile
	for _, f := range all {
		if f.Rows > 0 {
			files = append(files, f)
		}
	}
	if len(files) == 0 && keep && len(all) > 0 {
		files = all[:1]
	}
	return files
}

// digest stands for a job's files in order and for what is done with them. Two
// commits of one job with different digests are different jobs under one name.
func digest(t target, dir string, files []StagedFile) string {
	h := sha256.New()
	line := func(parts ...string) { _, _ = io.WriteString(h, strings.Join(parts, "\x00")+"\n") }
	line(string(t.namingOrDataset()), string(t.mode), t.config, t.splitOrTrain(), dir)
	for _, f := range files {
		if f.Rows == 0 {
			continue // which empty attempts there were does not matter
		}
		line(strconv.Itoa(f.Partition), strconv.Itoa(f.Index), f.OID, strconv.FormatInt(f.Size, 10), strconv.FormatInt(f.Rows, 10))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// packContent is the form in which a small file travels in its record.
func packContent(raw []byte) (string, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return "", err
	}
	defer func() { _ = enc.Close() }()
	return base64.StdEncoding.EncodeToString(enc.EncodeAll(raw, nil)), nil
}

// inline is how many bytes of the file travel inside a commit.
func (f StagedFile) inline() int64 {
	if f.Mode == UploadRegular {
		return f.Size
	}
	return 0
}

// Bytes unpacks the content of a regular record and checks it against its oid.
func (f StagedFile) Bytes() ([]byte, error) {
	bad := func(why string) ([]byte, error) {
		return nil, invalid("commit", "the content of partition %d's staged record %s", f.Partition, why)
	}
	packed, err := base64.StdEncoding.DecodeString(f.Content)
	if err != nil {
		return bad("is not base64")
	}
	// One byte more than allowed, so that too much is seen as too much.
	dec, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(8<<20))
	if err != nil {
		return bad("is not zstd")
	}
	defer dec.Close()
	raw, err := io.ReadAll(io.LimitReader(dec, MaxRegular+1))
	if err != nil {
		return bad("is not zstd")
	}
	sum := sha256.Sum256(raw)
	if int64(len(raw)) != f.Size || hex.EncodeToString(sum[:]) != f.OID {
		return bad("is not the file that its size and oid name")
	}
	return raw, nil
}

// partitions names the partitions of some files in an error text.
func partitions(files []StagedFile) string {
	var b strings.Builder
	for i, f := range files {
		if i == 20 {
			fmt.Fprintf(&b, " and %d more", len(files)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(f.Partition))
	}
	return b.String()
}

// PRTitle is the title of a job's pull request; it holds the job's id.
func PRTitle(job string) string { return "Upload using hubflight (job " + job + ")" }

// PRRevision is the branch of a pull request.
func PRRevision(num int) string { return "refs/pr/" + strconv.Itoa(num) }
