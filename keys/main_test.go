package keys_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestMain(m *testing.M) {
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// oneMember is a cluster of one process, for tests that need all keys, or that stop their server.
func oneMember() *cluster.Options { return &cluster.Options{Members: 1} }
