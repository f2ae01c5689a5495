package cluster_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestNoThreadOfAPausedMemberRuns(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	var pid int
	for _, m := range c.State().Members {
		if m.Name == "etcd1" {
			pid = m.PID
		}
	}
	for range 20 {
		did(t)(c.Pause(t.Context(), "etcd1"))
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(stats) == 0 {
			t.Fatalf("threads of etcd1 (pid %d): %v, %v", pid, stats, err)
		}
		for _, path := range stats {
			stat, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, state, found := bytes.Cut(stat, []byte(") ")); !found || state[0] != 'T' {
				t.Errorf("a thread of a paused member: %s", stat)
			}
		}
		did(t)(c.Resume(t.Context(), "etcd1"))
	}
}
