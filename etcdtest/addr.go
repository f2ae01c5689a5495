package etcdtest

import (
	"testing"

	"github.com/etcdkit/etcdkit/internal/port"
)

// Addr returns an address, host:port, that is this test's own until it ends: no process listens there, so
// connections to it are refused, unless and until the test itself listens. (On Linux. Elsewhere it
// is free when Addr returns.)
func Addr(tb testing.TB) string {
	tb.Helper()
	addr, held, err := port.Hold("127.0.0.1:0")
	if err != nil {
		tb.Fatalf("etcdtest: find a free port: %v", err)
	}
	tb.Cleanup(func() { held.Close() })
	return addr
}
