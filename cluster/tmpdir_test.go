package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// CI systems name directories after branches: feature%2Fx.
func TestATemporaryDirectoryMayHaveAnyNameThatADirectoryCanHave(t *testing.T) {
	for _, name := range []string{"a%2Fb", "100%", "a#b?c=d", "with space,'\"`$HOME&;", "[é]"} {
		t.Run(name, func(t *testing.T) {
			short, err := os.MkdirTemp("/tmp", "ek") // a long one is avoided for sockets
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(short)
			tmp := filepath.Join(short, name)
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TMPDIR", tmp)
			for _, opts := range []cluster.Options{{Members: 1}, {Members: 1, InProcess: true, DataDir: filepath.Join(tmp, "data")}} {
				c := etcdtest.NewCluster(t, &opts)
				if !strings.HasPrefix(c.State().DataDir, tmp) {
					t.Errorf("%+v: data is in %s, want it below %s", opts, c.State().DataDir, tmp)
				}
				put(t, etcdtest.Client(t, c), "k", "v")
				if resp, err := etcdtest.Client(t, c).Get(t.Context(), "", clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 1 {
					t.Errorf("%+v: got %v, %v, want one key", opts, resp, err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(filepath.Join(tmp, "data")); err != nil {
					t.Fatal(err)
				}
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
				t.Errorf("left in %s: %v, %v", tmp, left, err)
			}
		})
	}
}
