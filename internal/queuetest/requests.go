package queuetest

import (
	"sync/atomic"
	"testing"
	"time"
)

// AwaitQuiet waits until nothing has been counted for 2 s. One second after it began to wait or to hold,
// an entry opens a watch of its own, and may read.
func AwaitQuiet(t testing.TB, counted *atomic.Int64) {
	t.Helper()
	limit := time.After(within)
	for was := int64(-1); counted.Load() != was; {
		was = counted.Load()
		select {
		case <-time.After(2 * time.Second):
		case <-limit:
			t.Fatal("requests are made all the time")
		}
	}
}
