package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/hubflight/hubflight/source"
	"github.com/hubflight/hubflight/writer"
)

// maxJobFile is the server's own bound for a commit.
const maxJobFile = 64 << 20

// jobFile is where the commit of a job is kept from the time that all is staged
// until it has succeeded, so that "jobs resume" can send it again: the staged
// records are all that it takes, on any replica.
func jobFile(job string) (string, error) {
	if err := checkJob(job); err != nil {
		return "", err
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", source.Errorf(source.KindInvalid, "jobs", "there is no folder to keep jobs in: %w", err)
	}
	return filepath.Join(dir, "hubflight", "jobs", job+".json"), nil
}

// checkJob refuses what cannot be the id of a job.
func checkJob(job string) error {
	if id, err := uuid.Parse(job); err != nil || id.String() != job {
		return &usageError{source.Errorf(source.KindInvalid, "jobs", "%q is not the id of a job", job).
			WithHint("hubflight put prints it, and hubflight jobs list DATASET")}
	}
	return nil
}

// keepJob writes a job's commit for the user alone: small files travel in it.
func keepJob(commit writer.CommitRequest) error {
	name, err := jobFile(commit.Job)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(commit)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := writeSynced(name+".tmp", raw); err != nil {
		return errors.Join(err, os.Remove(name+".tmp"))
	}
	return os.Rename(name+".tmp", name)
}

// writeSynced writes a file that only its user may read, and that a power cut leaves whole.
func writeSynced(name string, raw []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// keptJob reads what keepJob wrote.
func keptJob(job string) (commit writer.CommitRequest, err error) {
	name, err := jobFile(job)
	if err != nil {
		return commit, err
	}
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return commit, source.Errorf(source.KindNotFound, "jobs", "job %s was not staged by this user on this machine, or it is finished", job).
			WithHint("ask for it with hubflight jobs show")
	}
	if err != nil {
		return commit, err
	}
	defer func() { _ = file.Close() }() // only read
	raw, err := io.ReadAll(io.LimitReader(file, maxJobFile+1))
	if err != nil {
		return commit, err
	}
	if len(raw) > maxJobFile {
		return commit, source.Errorf(source.KindLimit, "jobs", "the file of job %s is larger than 64 MiB", job)
	}
	if err := json.Unmarshal(raw, &commit); err != nil {
		return commit, source.Errorf(source.KindCorrupt, "jobs", "the file of job %s cannot be read: %w", job, err)
	}
	if commit.Job != job {
		return commit, source.Errorf(source.KindCorrupt, "jobs", "the file of job %s is another job's", job)
	}
	return commit, commit.Validate()
}

// dropJob removes a finished job's file, if there is one.
func dropJob(job string) {
	if name, err := jobFile(job); err == nil {
		_ = os.Remove(name)
	}
}
