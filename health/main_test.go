package health_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, addr string, checks ...health.Check) *health.Monitor {
	t.Helper()
	m, err := health.Open(bounded(t), addr, checks...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// verdict is what a probe's error means: p, w or f.
func verdict(err error) string {
	switch {
	case err == nil:
		return "p"
	case isWarning(err):
		return "w"
	}
	return "f"
}
