//go:build unix

package client_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// devDir is a directory for dev's files, of this test alone.
func devDir(t *testing.T) string {
	t.Helper()
	run, err := os.MkdirTemp("", "dev") // short, unlike the test's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	t.Setenv("XDG_RUNTIME_DIR", run)
	dir := filepath.Join(run, "etcdkit")
	if len(dir) > 80 {
		t.Fatalf("%s is too long to be used", dir)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeDev(t *testing.T, dir, port string, endpoints ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, port+".endpoints"), []byte(strings.Join(endpoints, ",")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWithNothingSetTheRunningDevClusterIsFound(t *testing.T) {
	means.DefaultPort(t)
	direct, _ := etcdtest.New(t)
	dead, alive := etcdtest.Addr(t), direct.Endpoints()[0]
	alive = strings.TrimPrefix(alive, "http://")
	for _, port := range []string{"2379", "22379"} { // its first member is dead
		dir := devDir(t)
		writeDev(t, dir, port, dead, alive)
		writeDev(t, dir, "1234", dead) // of one that was killed
		for name, open := range map[string]func() ([]string, error){
			"Dial": func() ([]string, error) {
				cli, err := client.Dial(t.Context(), nil)
				if err != nil {
					return nil, err
				}
				defer cli.Close()
				return cli.Endpoints(), nil
			},
			"New": func() ([]string, error) {
				cli, err := client.New(nil)
				if err != nil {
					return nil, err
				}
				defer cli.Close()
				return cli.Endpoints(), nil
			},
		} {
			got, err := open()
			if want := []string{dead, alive}; err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, port %s: got %v, %v; want %v", name, port, got, err, want)
			}
		}
	}
}

func TestOfSeveralDevClustersNoneIsGuessed(t *testing.T) {
	means.DefaultPort(t)
	direct, _ := etcdtest.New(t)
	alive := strings.TrimPrefix(direct.Endpoints()[0], "http://")
	gate := etcdtest.NewGate(t, alive)
	dir := devDir(t)
	writeDev(t, dir, "1", alive)
	writeDev(t, dir, "2", gate.Addr())
	_, err := client.Dial(t.Context(), nil)
	if !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), "export ETCDCTL_ENDPOINTS="+alive) || !strings.Contains(err.Error(), "export ETCDCTL_ENDPOINTS="+gate.Addr()) {
		t.Errorf("got %v, want ErrInvalid with both to choose from", err)
	}
}

func TestADevFileThatCannotBeTrustedIsIgnored(t *testing.T) {
	means.DefaultPort(t)
	direct, _ := etcdtest.New(t)
	alive := strings.TrimPrefix(direct.Endpoints()[0], "http://")
	for name, spoil := range map[string]func(dir string){
		"open to others":  func(dir string) { writeDev(t, dir, "2379", alive); os.Chmod(dir, 0o755) },
		"another machine": func(dir string) { writeDev(t, dir, "2379", alive, "192.0.2.1:2379") },
		"no end of line":  func(dir string) { os.WriteFile(filepath.Join(dir, "2379.endpoints"), []byte(alive), 0o600) },
		"megabytes":       func(dir string) { writeDev(t, dir, "2379", alive, strings.Repeat("x", 5<<20)) },
		"a symbolic link": func(dir string) {
			writeDev(t, dir, "x", alive)
			os.Rename(dir+"/x.endpoints", dir+"/x")
			os.Symlink("x", dir+"/2379.endpoints")
		},
		"no process answers there": func(dir string) { writeDev(t, dir, "2379", etcdtest.Addr(t)) },
		"a control character":      func(dir string) { writeDev(t, dir, "2379", alive+"\x1b[2J") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := devDir(t)
			spoil(dir)
			cli, err := client.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer cli.Close()
			if got := cli.Endpoints(); !slices.Equal(got, []string{"localhost:2379"}) {
				t.Errorf("got %q, want the default", got)
			}
		})
	}
}
