package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
)

// parentEnv makes this test binary a program that starts a cluster on the data directory it
// names ("temporary": none), prints its status and waits: something to kill.
const parentEnv = "ETCDKIT_TEST_PARENT"

func runParent() int {
	dir := os.Getenv(parentEnv)
	if dir == "temporary" {
		dir = ""
	}
	c, err := cluster.Start(context.Background(), &cluster.Options{AnyPort: true, DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	if _, err := c.Pause(context.Background(), "etcd2"); err != nil { // must not survive either
		fmt.Println(err)
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(c.Status())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func startParent(t *testing.T, dir, tmp string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), parentEnv+"="+dir, "TMPDIR="+tmp)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out)
}

// eventually waits for a condition that nothing announces: processes and files of others.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %v: %s", within, what)
		}
	}
}

func TestNoMemberOutlivesAParentThatGotKill9(t *testing.T) {
	tmp := t.TempDir()
	cmd, out := startParent(t, "temporary", tmp)
	line, err := out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var s cluster.Status
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	killed := time.Now()
	for _, m := range s.Members {
		// The product's promise, not a test's patience: within 2 s.
		eventually(t, 2*time.Second-time.Since(killed), fmt.Sprintf("%s (pid %d, %s) still runs", m.Name, m.PID, m.State), func() bool {
			return syscall.Kill(m.PID, 0) != nil
		})
	}
	t.Logf("all gone %v after kill -9", time.Since(killed))
	eventually(t, 20*time.Second, "temporary data is still there", func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	})
}

// Fault 29. Each round kills the parent at another moment of the bootstrap; the next start on
// the same directory must succeed.
func TestAClusterKilledWhileBootstrappingStartsAgainOnItsDirectory(t *testing.T) {
	for _, after := range []time.Duration{5, 30, 60, 100, 150, 250, 400} {
		after *= time.Millisecond
		dir := filepath.Join(t.TempDir(), "data")
		cmd, _ := startParent(t, dir, t.TempDir())
		<-time.After(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// Its members notice by themselves; until then they hold the sockets of their own run only.
		c, err := cluster.Start(t.Context(), &cluster.Options{AnyPort: true, DataDir: dir})
		if err != nil {
			t.Fatalf("killed after %v: %v", after, err)
		}
		put(t, at(t, c, "etcd3"), "k", "v")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		t.Logf("killed after %v: started again; %s", after, strings.Join(names, " "))
	}
}
