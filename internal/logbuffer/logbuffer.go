// Package logbuffer keeps log lines until no lock is held. A slog.Handler is the user's code: it may take
// its time, and ask the handle that logs for its state.
package logbuffer

import (
	"context"
	"log/slog"
	"sync"
)

// Buffer keeps lines from Add to Flush. Its methods may be called from any goroutine.
type Buffer struct {
	logger *slog.Logger

	mu    sync.Mutex
	lines []line
}

type line struct {
	level slog.Level
	text  string
	attrs []any
}

// New returns an empty Buffer. A nil logger is silent.
func New(logger *slog.Logger) *Buffer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Buffer{logger: logger}
}

// Add keeps a line. It calls nothing, so the caller may hold a lock.
func (b *Buffer) Add(level slog.Level, text string, attrs ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line{level, text, attrs})
}

// Flush writes the lines, in the order in which they were added. The caller holds no lock.
func (b *Buffer) Flush() {
	b.mu.Lock()
	lines := b.lines
	b.lines = nil
	b.mu.Unlock()
	for _, l := range lines {
		b.logger.Log(context.Background(), l.level, l.text, l.attrs...)
	}
}
