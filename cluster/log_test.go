package cluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// askingHandler is a log handler that asks the cluster for its state.
type askingHandler struct {
	slog.Handler
	state func() cluster.State
}

func (h askingHandler) Handle(ctx context.Context, r slog.Record) error {
	h.state()
	return h.Handler.Handle(ctx, r)
}

func TestALoggerMayCallTheCluster(t *testing.T) {
	var log records
	var c atomic.Pointer[cluster.Cluster]
	logger := slog.New(askingHandler{log.logger().Handler(), func() cluster.State {
		if c := c.Load(); c != nil {
			return c.State()
		}
		return cluster.State{}
	}})
	c.Store(etcdtest.NewCluster(t, &cluster.Options{Logger: logger}))
	p, err := os.FindProcess(member(t, c.Load(), "etcd2").PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "member ended: ")
}

func TestARepeatedWarningIsPassedOnOnce(t *testing.T) {
	var log records
	c := etcdtest.NewCluster(t, &cluster.Options{Logger: log.logger()})
	if got := log.all(); len(got) != 0 {
		t.Errorf("a plain start logs %q, want nothing", got)
	}
	if _, err := at(t, c, "leader").Revoke(t.Context(), 4711); err == nil { // it concerns the client only
		t.Error("void: a lease that is not there was revoked")
	}
	did(t)(c.Kill(t.Context(), "leader"))
	log.wait(t, "lost TCP streaming connection")
	seen := make(map[string]bool)
	for _, line := range log.all() {
		if seen[line] {
			t.Errorf("logged twice: %q", line)
		}
		if strings.Contains(line, "failed to apply request") {
			t.Errorf("logged: %q", line)
		}
		seen[line] = true
	}
}

func TestAWarningAboutADatabaseWithoutAnEntryIsNotPassedOn(t *testing.T) {
	var log records
	for _, line := range []string{
		`{"level":"warn","msg":"Failed to detect schema version","error":"missing term information"}`,
		`{"level":"error","msg":"failed to update storage version","error":"cannot detect storage schema version: missing term information"}`,
		`{"level":"error","msg":"failed to update storage version","error":"disk is full"}`,
	} {
		fmt.Fprintln(cluster.Warnings(log.logger()), line)
	}
	if got := log.all(); len(got) != 1 || !strings.Contains(got[0], "failed to update storage version: disk is full") {
		t.Errorf("got %q, want the last one", got)
	}
}
