package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// entry is one line of etcd's JSON log.
type entry struct {
	Level string `json:"level"`
	Msg   string `json:"msg"`
	Error string `json:"error"`

	// Of a slow request.
	Response string `json:"response type"`
	Spent    string `json:"time spent"`
}

func parseEntry(line []byte) (entry, bool) {
	var e entry
	if json.Unmarshal(line, &e) != nil || e.Msg == "" {
		return entry{}, false
	}
	return e, true
}

func (e entry) fatal() bool { return e.Level == "fatal" || e.Level == "panic" }

// endsMember tells whether etcd then ends by itself, for example because the member was removed from the
// cluster.
func (e entry) endsMember() bool { return e.Msg == "server error" }

// aboutAnswer tells whether it is about what a client was answered, for example that a lease is not there. The
// member works as it should.
func (e entry) aboutAnswer() bool { return e.Msg == "failed to apply request" }

// aboutNewDatabase tells whether it is about a database that has no entry yet. etcd looks for the version of its storage
// every few seconds, and finds it with the first one.
func (e entry) aboutNewDatabase() bool {
	return strings.Contains(e.Msg+e.Error, "missing term information")
}

func (e entry) String() string {
	if e.Msg == "request stats" {
		return fmt.Sprintf("slow request: %s took %s", strings.TrimPrefix(e.Response, "/etcdserverpb."), e.Spent)
	}
	if e.Error == "" || strings.Contains(e.Msg, e.Error) {
		return e.Msg
	}
	return e.Msg + ": " + e.Error
}

// quietFor is how long a warning must not have come to be passed on again.
const quietFor = 30 * time.Second

// warnings passes a member's warnings on, once for each change: etcd repeats "lost the TCP
// streaming connection" ten times a second, for minutes.
type warnings struct {
	member string
	to     *slog.Logger
	names  func(string) string // members' names for their ids
	on     atomic.Bool         // while the member serves: its start and its end are reported in other ways

	mu     sync.Mutex
	latest map[string]time.Time // by message, and by error: etcd reports one error in several ways
	ends   string               // why etcd ends by itself; "" if it did not say
}

// endReason is why etcd has ended by itself, or "".
func (w *warnings) endReason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends
}

// Write takes one zap line; zap and readStderr never split one.
func (w *warnings) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		e, ok := parseEntry(line)
		if ok && e.endsMember() {
			w.mu.Lock()
			w.ends = e.String()
			w.mu.Unlock()
		}
		if ok && w.on.Load() && !e.aboutAnswer() && !e.aboutNewDatabase() && w.isNew(e) {
			w.to.Log(context.Background(), e.level(), w.names(e.String()), "member", w.member)
		}
	}
	return len(b), nil
}

func (w *warnings) isNew(e entry) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.latest == nil {
		w.latest = make(map[string]time.Time)
	}
	now := time.Now()
	isNew := true
	for _, text := range []string{e.Msg, e.Error} {
		if last, known := w.latest[text]; known && now.Sub(last) < quietFor {
			isNew = false
		}
		if text != "" {
			w.latest[text] = now
		}
	}
	return isNew
}

func (e entry) level() slog.Level {
	if e.Level == "warn" {
		return slog.LevelWarn
	}
	return slog.LevelError
}
