//go:build linux

package main

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// lossTTL is that of the trials.
const lossTTL = 5 * time.Second

// lossTrials has so many wrappers lose their lock, in pauses of one cluster.
func lossTrials(t *testing.T, pauses, wrappers int) {
	t.Helper()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	first := lossTTL
	for n := range pauses {
		first = min(first, lossTrial(t, c, cli, fmt.Sprint("job", n), wrappers))
	}
	t.Logf("%d trials: the last command ran until %v before the deadline", pauses*wrappers, first)
}

// lossTrial pauses the cluster while wrappers hold locks. It returns how long before the deadline the last command
// ran.
func lossTrial(t *testing.T, c *cluster.Cluster, cli *clientv3.Client, name string, wrappers int) time.Duration {
	t.Helper()
	runs, ticks := make([]*lockRun, wrappers), make([]*ticker.Ticker, wrappers)
	for i := range wrappers {
		ticks[i] = ticker.New(t)
		runs[i] = startLock(t, cli, append([]string{"--ttl", lossTTL.String(), fmt.Sprint(name, "/", i), "--"}, ticks[i].Argv...)...)
	}
	for _, k := range ticks {
		awaitTick(t, k)
	}
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	paused := ticker.BootTime()
	var latest time.Duration
	for i, r := range runs {
		if code := r.code(t); code != 76 {
			t.Errorf("exit code %d, want 76: %s", code, r.said)
		}
		_, last := ticks[i].Ran()
		if last < paused {
			t.Errorf("void: the command ended before the pause: %s", r.said)
		}
		latest = max(latest, last)
	}
	// What was answered was sent before the pause. The lease keeps back a tenth of its TTL.
	deadline := paused + lossTTL - lossTTL/10
	if latest >= deadline {
		t.Errorf("a command ran until %v after the deadline", latest-deadline)
	}
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	return deadline - latest
}

func TestWhileTheClusterIsPausedNoCommandOutlivesItsLock(t *testing.T) { lossTrials(t, 1, 10) }
