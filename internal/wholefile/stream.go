package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// File is the new content of a file, under another name in the same directory until Commit: File.Name is that name.
type File struct {
	*os.File
	target   string
	finished bool // nothing more is written
	ended    bool // committed or abandoned
}

// Create begins a file that will be called name, which only this user can read. It must end with Commit or Abandon.
func Create(name string) (*File, error) {
	// CreateTemp makes a new file, mode 0600, so no link under its name leads elsewhere.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*"+unfinished)
	if err != nil {
		return nil, err
	}
	return &File{File: f, target: name}, nil
}

// Commit gives the file its name, in place of one that has it. When it returns, the file is on the disk. If it fails,
// there is no new file, or the system may lose it again.
func (f *File) Commit() error { return f.commit(true) }

func (f *File) commit(durable bool) error {
	err := f.finish(durable)
	if err == nil {
		err = busy(f.target, os.Rename(f.Name(), f.target))
	}
	if err != nil {
		f.Abandon()
		return err
	}
	f.ended = true
	if !durable {
		return nil
	}
	return syncDir(filepath.Dir(f.target))
}

// finish ends what is written.
func (f *File) finish(durable bool) error {
	if f.finished {
		return nil
	}
	f.finished = true
	var err error
	if durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Abandon removes the file; one that has the name already stays as it is. After Commit it does nothing. What cannot be
// removed is left to RemoveUnfinished.
func (f *File) Abandon() {
	if f.ended {
		return
	}
	f.ended = true
	_ = f.finish(false)
	_ = os.Remove(f.Name())
}
