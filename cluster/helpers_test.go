package cluster_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// records is a logger's output that a test can wait on.
type records struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func (r *records) logger() *slog.Logger {
	r.changed = make(chan struct{}, 1)
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return r.buf.Write(b)
}

func (r *records) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.FieldsFunc(r.buf.String(), func(c rune) bool { return c == '\n' })
}

// wait returns when a record has the text.
func (r *records) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if strings.Contains(strings.Join(r.all(), "\n"), text) {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			t.Fatalf("no record with %q in %q", text, r.all())
		}
	}
}
