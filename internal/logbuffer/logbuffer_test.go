package logbuffer_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/etcdkit/etcdkit/internal/logbuffer"
)

// asking is a handler that takes the lock of the handle that logs.
type asking struct {
	slog.Handler
	mu *sync.Mutex
}

func (a asking) Handle(ctx context.Context, r slog.Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Handler.Handle(ctx, r)
}

func TestLinesAreWrittenInOrderOnceNoLockIsHeld(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	text := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	b := logbuffer.New(slog.New(asking{text, &mu}))
	mu.Lock()
	b.Add(slog.LevelInfo, "first", "key", "a")
	b.Add(slog.LevelWarn, "second")
	if out.Len() > 0 {
		t.Errorf("written before Flush: %s", &out)
	}
	mu.Unlock()
	b.Flush()
	b.Flush()
	if want := "level=INFO msg=first key=a\nlevel=WARN msg=second\n"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}

func TestWithoutALoggerItIsSilent(t *testing.T) {
	b := logbuffer.New(nil)
	b.Add(slog.LevelError, "this is not written")
	b.Flush()
}
