package matrix_test

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

var update = flag.Bool("update", false, "write docs/reliability.md")

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		os.Exit(runWorker())
	}
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else. It is no promise.
const within = 60 * time.Second

func bounded(t tester) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}
