package etcdtest_test

import (
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

func TestTestsShareAServerAndNotAPrefix(t *testing.T) {
	a, prefixA := etcdtest.New(t)
	b, prefixB := etcdtest.New(t)
	if got, want := b.Endpoints()[0], a.Endpoints()[0]; got != want {
		t.Errorf("second client: endpoint %s, want the first's %s", got, want)
	}
	if prefixA == prefixB || !strings.HasSuffix(prefixA, "/") {
		t.Errorf("prefixes %q and %q: want two, ending in /", prefixA, prefixB)
	}
	if _, err := a.Put(t.Context(), prefixA+"key", "value"); err != nil {
		t.Fatal(err)
	}
	resp, err := b.Get(t.Context(), prefixA+"key")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("get through the other client: %v, %v", resp, err)
	}
}

func TestWhatATestWroteIsGoneAfterIt(t *testing.T) {
	var prefix string
	t.Run("writes", func(t *testing.T) {
		var cli *clientv3.Client
		cli, prefix = etcdtest.New(t)
		if _, err := cli.Put(t.Context(), prefix+"key", "value"); err != nil {
			t.Fatal(err)
		}
	})
	cli, _ := etcdtest.New(t)
	resp, err := cli.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 0 {
		t.Errorf("below %q: %v, %v, want nothing", prefix, resp, err)
	}
}

func TestAClusterOfItsOwnEndsWithItsTest(t *testing.T) {
	var dir string
	t.Run("uses", func(t *testing.T) {
		c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
		dir = c.State().DataDir
		if _, err := etcdtest.Client(t, c).Put(t.Context(), "key", "value"); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("stat %s: %v, want it gone", dir, err)
	}
}
