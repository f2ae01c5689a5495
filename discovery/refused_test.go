package discovery_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

func TestWhereConnectionsAreRefusedEachErrorSaysSoAndWhere(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	m, err := mirror.Open(bounded(t), cli, "copied/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if _, err := c.Kill(t.Context(), c.Names()[0]); err != nil {
		t.Fatal(err)
	}
	var calling sync.WaitGroup
	for what, call := range map[string]func(context.Context) error{
		"Open":     func(ctx context.Context) error { _, err := discovery.Open(ctx, cli, "web", nil); return err },
		"List":     func(ctx context.Context) error { _, err := discovery.List(ctx, cli, "web", nil); return err },
		"Services": func(ctx context.Context) error { _, err := discovery.Services(ctx, cli, nil); return err },
		"Wait":     func(ctx context.Context) error { return m.Wait(ctx, 1<<60) },
		"Watch": func(ctx context.Context) (last error) {
			for _, err := range discovery.Watch(ctx, cli, "web", nil) {
				last = err
			}
			return last
		},
	} {
		calling.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // the first cause is that the connection broke
			defer cancel()
			err := call(ctx)
			t.Logf("%s: %v", what, err)
			if err == nil || !strings.Contains(err.Error(), c.Endpoints()[0]) || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%s: got %v, want the endpoint %s and that it refuses", what, err, c.Endpoints()[0])
			}
		})
	}
	calling.Wait()
}
