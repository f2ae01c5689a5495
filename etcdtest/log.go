package etcdtest

import (
	"log/slog"
	"sync"
	"testing"
)

// testLog writes lines to a test's log until end: a test that has ended must not log.
type testLog struct {
	mu sync.Mutex
	tb testing.TB // nil once the test has ended
}

// newTestLog is a logger for warnings, and the function that ends it. A benchmark's log would be printed
// together with its results, so there it is silent.
func newTestLog(tb testing.TB) (logger *slog.Logger, end func()) {
	if _, ok := tb.(*testing.B); ok {
		return slog.New(slog.DiscardHandler), func() {}
	}
	l := &testLog{tb: tb}
	return slog.New(slog.NewTextHandler(l, nil)), l.end
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tb != nil {
		l.tb.Logf("%s", b)
	}
	return len(b), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb = nil
}
