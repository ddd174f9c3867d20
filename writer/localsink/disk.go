package localsink

import (
	"errors"
	"io/fs"
	"os"

	"github.com/hubflight/hubflight/writer/failpoint"
)

// disk is a dataset's folder. Whatever changes it goes through here or asks at, so that
// tests have every single step fail.
type disk struct {
	*os.Root
	fault func(step string) error // nil outside of tests
}

// The steps that a fault can take the place of.
const (
	stepMake   = "make a folder"
	stepCreate = "create a file"
	stepWrite  = "write a file"
	stepSync   = "sync"
	stepLink   = "link"
	stepRename = "rename"
	stepRemove = "remove"
)

func (d disk) at(step string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(step)
}

func (d disk) Mkdir(name string, perm os.FileMode) error {
	if err := d.at(stepMake); err != nil {
		return err
	}
	return d.Root.Mkdir(name, perm)
}

func (d disk) MkdirAll(name string, perm os.FileMode) error {
	if err := d.at(stepMake); err != nil {
		return err
	}
	return d.Root.MkdirAll(name, perm)
}

// create opens a file to write it, and makes it first if it is not there.
func (d disk) create(name string, flags int) (*os.File, error) {
	if err := d.at(stepCreate); err != nil {
		return nil, err
	}
	return d.OpenFile(name, os.O_CREATE|os.O_WRONLY|flags, 0o644)
}

func (d disk) Link(old, name string) error {
	if err := d.at(stepLink); err != nil {
		return err
	}
	return d.Root.Link(old, name)
}

func (d disk) Rename(old, name string) error {
	if err := d.at(stepRename); err != nil {
		return err
	}
	return d.Root.Rename(old, name)
}

func (d disk) RemoveAll(name string) error {
	if err := d.at(stepRemove); err != nil {
		return err
	}
	return d.Root.RemoveAll(name)
}

// drop removes a file or an empty folder; that it is not there is no error.
func (d disk) drop(name string) error {
	if err := d.at(stepRemove); err != nil {
		return err
	}
	if err := d.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d disk) sync(file *os.File) error {
	if err := d.at(stepSync); err != nil {
		return err
	}
	return file.Sync()
}

// has reports whether there is something of that name.
func (d disk) has(name string) bool {
	_, err := d.Lstat(name)
	return err == nil
}

// syncDir makes renames in a folder survive a power cut.
func (f *folder) syncDir(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return f.sink.wrap("sync", err)
	}
	failpoint.Here(failpoint.LocalFlushes)
	err = errors.Join(f.root.sync(d), d.Close())
	failpoint.Here(failpoint.LocalFlushed)
	return f.sink.wrap("sync", err)
}
