// Package queuetest is what the tests of locks and of elections share.
package queuetest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

// Log keeps what a handle logs. The zero value is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Logger returns a logger that writes to the Log.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.text.String(), "\n"), "\n")
}

// Has waits for the nth line, which must be the last one and have all these texts.
func (l *Log) Has(t testing.TB, n int, texts ...string) {
	t.Helper()
	for limit := time.After(within); ; {
		lines := l.lines()
		if len(lines) >= n && lines[0] != "" {
			for _, text := range texts {
				if !strings.Contains(lines[n-1], text) {
					t.Errorf("line %d is\n%s\nwant %s in it", n, lines[n-1], text)
				}
			}
			if len(lines) > n {
				t.Errorf("%d lines, want %d:\n%s", len(lines), n, strings.Join(lines, "\n"))
			}
			return
		}
		select {
		case <-limit:
			t.Fatalf("want line %d, got\n%s", n, strings.Join(lines, "\n"))
		case <-time.After(time.Millisecond):
		}
	}
}
