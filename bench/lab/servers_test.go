package lab_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestWhatIsNotInstalledNamesItsPackage(t *testing.T) {
	t.Setenv("PATH", "")
	for name, start := range map[string]func(context.Context, int) (*lab.Servers, error){
		"redis-server": lab.Redis, "zookeeper": lab.ZooKeeper,
	} {
		s, err := start(t.Context(), 3)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, lab.ErrMissing) || !strings.Contains(err.Error(), "apt-get install "+name) {
			t.Errorf("%s without a PATH: got %v, want ErrMissing and the package's name", name, err)
		}
	}
}

func TestServersLeaveNothingBehind(t *testing.T) {
	for name, start := range map[string]func(context.Context, int) (*lab.Servers, error){
		"redis": lab.Redis, "ZooKeeper": lab.ZooKeeper,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			s, err := start(t.Context(), 3)
			if errors.Is(err, lab.ErrMissing) {
				means.Missing(t, "%v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, addr := range s.Addrs {
				if c, err := net.Dial("tcp", addr); err == nil {
					c.Close()
					t.Errorf("%s still answers", addr)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}
