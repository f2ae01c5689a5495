package discovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/wholefile"
	"github.com/etcdkit/etcdkit/mirror"
)

const (
	// maxSaved bounds a file: a longer list is not saved.
	maxSaved = 16 << 20
	// saveEvery is the least time between two writes of a file.
	saveEvery = time.Second
	// saveAnyway is when a list that does not change is written again, with the time at which etcd last
	// confirmed it.
	saveAnyway = time.Minute
)

var errLong = errors.New("the list is too long")

// file is the content of a file: the last good list of one service, as etcd had it.
type file struct {
	Service   string    `json:"service"`
	Prefix    string    `json:"prefix"`
	Revision  int64     `json:"revision"`
	Confirmed time.Time `json:"confirmed"` // for people: no decision depends on it
	Instances []record  `json:"instances"`
}

type record struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// saved is a list from a file, for as long as etcd has not been reached.
type saved struct {
	file
	cause error
}

func (s *saved) because(err error) *saved { return &saved{s.file, err} }

// state is the view's state while it uses the saved list.
func (s *saved) state(v *View) State {
	state := v.state(v.current.Load())
	state.Since, state.Confirmed, state.Revision = s.Confirmed, s.Confirmed, s.Revision
	state.Cause = errtext.Errorf("%w, of %s: %w", ErrSaved, s.Confirmed.Format(time.DateTime), s.cause)
	return state
}

// path is the service's file. Its name has a readable part, and one that no other service has.
func (v *View) path() string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r) {
			return r
		}
		return '_'
	}, v.service)
	h := fnv.New64a()
	_, _ = io.WriteString(h, v.keys) // it never fails
	return filepath.Join(v.opts.Dir, fmt.Sprintf("%.40s-%016x.json", readable, h.Sum64()))
}

// readSaved returns the saved list, or nil: there is none, or it cannot be used, which the log says.
func (v *View) readSaved() *file {
	if v.opts.Dir == "" {
		return nil
	}
	f, err := readFile(v.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && (f.Service != v.service || f.Prefix != v.opts.Prefix):
		err = fmt.Errorf("it is of %q below %q", f.Service, f.Prefix)
	}
	if err != nil {
		v.log.Warn("cannot use the saved list", "file", v.path(), "error", err)
		return nil
	}
	return f
}

func readFile(path string) (*file, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxSaved+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSaved {
		return nil, fmt.Errorf("it has more than %d bytes", maxSaved)
	}
	f := new(file)
	return f, json.Unmarshal(b, f)
}

// beginSaved makes a saved list the view's first one.
func (v *View) beginSaved(f *file, cause error) {
	l := newList(len(f.Instances), nil)
	v.decodeAll(l, func(yield func(mirror.KeyValue) bool) {
		for _, r := range f.Instances {
			if !yield(mirror.KeyValue{Key: v.keys + r.ID, Value: r.Value}) {
				return
			}
		}
	})
	slices.SortFunc(l.fresh, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
	v.saved.Store(&saved{*f, cause})
	v.change(func() { v.publish(l) })
	v.log.Warn("etcd cannot be reached, the saved list is used", "service", v.service, "instances", len(l.fresh), "confirmed", f.Confirmed, "cause", cause)
}

// keepSaved writes the list after each change, if etcd has confirmed it, until the view ends.
func (v *View) keepSaved() {
	wholefile.RemoveUnfinished(v.path(), time.Minute) // a younger one may be another process's
	select {
	case <-v.reached:
	case <-v.life.Done():
		if v.mirror.Load() == nil {
			return
		}
	}
	var written *list // the newest one that is in the file
	sound := true
	attempt := func() {
		l := v.current.Load()
		// While instances are kept the list is not complete, and while etcd does not confirm the list
		// there is nothing new to save.
		if len(l.instances) > len(l.fresh) || !v.mirror.Load().State().Fresh {
			return
		}
		err := v.save(l)
		if err == nil || errors.Is(err, errLong) { // until it changes
			written = l
		}
		if err != nil && sound {
			v.log.Warn("cannot save the list, trying again", "file", v.path(), "error", err)
		}
		sound = err == nil
	}
	for v.life.Err() == nil {
		attempt()
		select {
		case <-time.After(saveEvery):
		case <-v.life.Done():
		}
		if l := v.current.Load(); l == written { // else it is tried again
			select {
			case <-l.changed:
			case <-time.After(saveAnyway):
			case <-v.life.Done():
			}
		}
	}
	attempt()
}

// save replaces the file in one step. If the list is too long, it removes the file, which would only
// get older.
func (v *View) save(l *list) error {
	f := file{Service: v.service, Prefix: v.opts.Prefix, Revision: l.revision(), Confirmed: v.mirror.Load().State().Confirmed}
	for kv := range l.snapshot.All() {
		if _, bad := l.bad[kv.Key]; !bad {
			f.Instances = append(f.Instances, record{kv.Key[len(v.keys):], kv.Value})
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if len(b) > maxSaved {
		_ = os.Remove(v.path())
		return fmt.Errorf("%w: %d bytes: want at most %d", errLong, len(b), maxSaved)
	}
	if err := os.MkdirAll(v.opts.Dir, 0o700); err != nil {
		return err
	}
	return wholefile.WriteDurable(v.path(), b)
}
