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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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
	_ = json.NewEncoder(os.Stdout).Encode(c.State())
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

// alive tells whether the process runs. An orphan that has ended is a zombie until init gets
// round to it.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, state, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(state, "Z")
	}
	return syscall.Kill(pid, 0) == nil
}

func TestNoMemberOutlivesAParentThatGotKill9(t *testing.T) {
	tmp, err := os.MkdirTemp("", "k9") // short: the cluster avoids a long TMPDIR
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd, out := startParent(t, "temporary", tmp)
	line, err := out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var s cluster.State
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if !strings.HasPrefix(s.DataDir, tmp) {
		t.Fatalf("data in %s, want it below %s", s.DataDir, tmp)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	killed := time.Now()
	// The product's promise, not a test's patience: within 2 s.
	eventually(t, 2*time.Second, fmt.Sprintf("one of %+v still runs", s.Members), func() bool {
		return !slices.ContainsFunc(s.Members, func(m cluster.MemberState) bool { return alive(m.PID) })
	})
	t.Logf("all gone %v after kill -9", time.Since(killed))
	eventually(t, 20*time.Second, "temporary data is still there", func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	})
}

// Each round kills the parent at another moment of the bootstrap. The next start on
// the same directory must succeed, with every write that was acknowledged: a writer tries all
// the while.
func TestAClusterKilledWhileBootstrappingStartsAgainOnItsDirectory(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{5, 30, 60, 100, 150, 250, 400, 600} {
		after *= time.Millisecond
		dir := filepath.Join(t.TempDir(), "data")
		cmd, _ := startParent(t, dir, t.TempDir())
		ctx, cancel := context.WithCancel(t.Context())
		acknowledged := make(chan int, 1)
		go func() { acknowledged <- write(ctx, dir) }()
		<-time.After(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cancel()
		wrote := <-acknowledged

		c, err := startWhenFree(t, dir)
		if err != nil {
			t.Fatalf("killed after %v: %v", after, err)
		}
		cli := at(t, c, "etcd3")
		put(t, cli, "k", "v")
		resp, err := cli.Get(t.Context(), "early/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil || int(resp.Count) < wrote {
			t.Errorf("killed after %v: %v of %d acknowledged writes are there, %v", after, resp, wrote, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("killed after %v: started again; %d writes had been acknowledged", after, wrote)
	}
}

// startWhenFree starts on a directory whose members, orphaned a moment ago, may not have ended.
func startWhenFree(t *testing.T, dir string) (c *cluster.Cluster, err error) {
	t.Helper()
	eventually(t, 20*time.Second, "the directory is in use", func() bool {
		c, err = cluster.Start(t.Context(), &cluster.Options{AnyPort: true, DataDir: dir})
		return err == nil || !strings.Contains(err.Error(), "open; stop it first")
	})
	return c, err
}

// write puts keys through the client port that cluster.json names, as soon as it can, and
// returns how many puts were acknowledged.
func write(ctx context.Context, dir string) (acknowledged int) {
	for ctx.Err() == nil {
		var rec struct{ Members []struct{ Client int } }
		b, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
		if err != nil || json.Unmarshal(b, &rec) != nil || len(rec.Members) == 0 {
			<-time.After(time.Millisecond)
			continue
		}
		cli, err := clientv3.New(clientv3.Config{
			Endpoints: []string{fmt.Sprintf("127.0.0.1:%d", rec.Members[0].Client)}, Logger: zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}})},
		})
		if err != nil {
			continue
		}
		for ctx.Err() == nil {
			try, cancel := context.WithTimeout(ctx, time.Second)
			if _, err := cli.Put(try, fmt.Sprintf("early/%d", acknowledged), ""); err == nil {
				acknowledged++
			}
			cancel()
		}
		cli.Close()
	}
	return acknowledged
}
