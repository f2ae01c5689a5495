package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lock"
)

// mount puts a tmpfs over dir for the test.
func mount(t *testing.T, dir string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		means.Missing(t, "mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

func TestAReadOnlyDirectoryIsNamed(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() == 0 { // permissions do not apply to root
		mount(t, dir, syscall.MS_RDONLY, "")
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), &cluster.Options{Members: 1, AnyPort: true, InProcess: true, DataDir: dir})
	if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), dir+" is not writable") {
		t.Errorf("got %v, want ErrDataDir that says that %s is not writable", err, dir)
	}
}

func TestAMemberWhoseDiskIsFullFailsWithAClearReasonAndTheOthersServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk := filepath.Join(dir, "etcd2")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, disk, 0, "size=160m") // etcd allocates two logs of 64 MB in advance
	var log records
	c := etcdtest.NewCluster(t, &cluster.Options{DataDir: dir, Logger: log.logger()})
	if c.Leader() != "etcd1" {
		did(t)(c.MoveLeader(t.Context(), "etcd1"))
	}
	cli := at(t, c, "etcd3")
	put(t, cli, "before", "x")

	fill(t, filepath.Join(disk, "filler"))
	value := strings.Repeat("v", 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := 0; member(t, c, "etcd2").Status == cluster.Running; i++ {
		if _, err := cli.Put(ctx, fmt.Sprintf("big/%d", i%8), value); err != nil {
			t.Fatalf("put %d while the disk of one member is full: %v", i, err)
		}
	}
	log.wait(t, "member ended: ")
	got := member(t, c, "etcd2")
	if got.Status != cluster.Failed || !strings.Contains(got.Reason, "no space left on device") || !strings.Contains(got.Reason, disk) {
		t.Errorf("got %s, reason %q; want failed for want of space on %s", got.Status, got.Reason, disk)
	}
	put(t, cli, "after", "x")

	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	did(t)(c.Start(t.Context(), "etcd2"))
	resp, err := at(t, c, "etcd2").Get(ctx, "after")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("etcd2 after its disk has space again: %v, %v", resp, err)
	}
}

// fill writes until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); err != nil {
			if !strings.Contains(err.Error(), "no space left") {
				t.Fatal(err)
			}
			return
		}
	}
}

// Every fsync of the leader takes half a second; a lock with a TTL of 5 s is kept
// through 10 s of it, and no other process gets it.
func TestALockThatItsTTLCoversSurvivesSlowFsyncOnTheLeader(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		means.Missing(t, "slowing fsync: %v", err)
	}
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	mine := lock.New(cli, "slow-fsync", &lock.Options{TTL: 5 * time.Second})
	defer mine.Close()
	hold, err := mine.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	const delay = 500 * time.Millisecond
	leader := member(t, c, c.Leader())
	slow := exec.Command(strace, "-f", "-p", fmt.Sprint(leader.PID), "-o", os.DevNull, "-e", "trace=fdatasync,fsync",
		"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_enter=%d", delay.Microseconds()))
	if err := slow.Start(); err != nil {
		means.Missing(t, "slowing fsync: %v", err)
	}
	t.Cleanup(func() {
		_ = slow.Process.Signal(syscall.SIGINT) // detaches
		_ = slow.Wait()
	})
	// A write through the leader takes as long as its fsync once strace has attached; a fault
	// that did not take effect makes the test void.
	eventually(t, 20*time.Second, "strace does not slow fsync", func() bool { return timedPut(t, cli) >= delay })

	rival, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	theirs := lock.New(etcdtest.Client(t, c), "slow-fsync", &lock.Options{TTL: time.Minute})
	defer theirs.Close()
	if got, err := theirs.Acquire(rival); err == nil {
		t.Errorf("a rival got the lock, token %d, while its holder was alive", got.Token())
	}
	if took := timedPut(t, cli); took < delay {
		t.Errorf("void: at the end a write took %v only", took)
	}
	select {
	case <-hold.Done():
		t.Errorf("the holder lost its lock: %v", hold.Err())
	default:
	}
	resp, err := cli.Txn(t.Context()).If(hold.Guard()).Then(clientv3.OpPut("fenced", "x")).Commit()
	if err != nil || !resp.Succeeded {
		t.Errorf("guarded write of the holder: %v, %v, want success", resp, err)
	}
}

func timedPut(t *testing.T, cli *clientv3.Client) time.Duration {
	t.Helper()
	begin := time.Now()
	put(t, cli, "paced", "x")
	return time.Since(begin)
}

// A loss of power after the start must not leave cluster.json empty: the file is synced before it gets its
// name, and then the directory.
func TestTheRecordOfKeptDataIsOnTheDiskBeforeItCounts(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		means.Missing(t, "seeing fsync: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if resolved, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		dir = filepath.Join(resolved, "data")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-y", "-o", trace, "-e", "trace=fsync,rename,renameat,renameat2", exe)
	cmd.Env = append(os.Environ(), parentEnv+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		means.Missing(t, "seeing fsync: %v", err)
	}
	if _, err := bufio.NewReader(out).ReadBytes('\n'); err != nil { // its status: it is up
		t.Fatal(err)
	}
	stdin.Close()
	_ = cmd.Wait()
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.QuoteMeta(dir) + `/cluster\.json\.[0-9]+\.tmp`
	sync, rename := regexp.MustCompile(`fsync\([0-9]+<`+file+`>`), regexp.MustCompile(`rename.*"`+file+`", `)
	synced, renamed, lasting := 0, 0, 0
	for line := range strings.Lines(string(b)) {
		switch {
		case sync.MatchString(line):
			synced++
		case rename.MatchString(line):
			if renamed++; synced != renamed {
				t.Errorf("rename %d after %d syncs of the file: %s", renamed, synced, line)
			}
		case strings.Contains(line, "fsync(") && strings.Contains(line, "<"+dir+">"):
			lasting++
		}
	}
	if renamed < 2 || lasting < renamed {
		t.Errorf("cluster.json was renamed %d times and its directory synced %d times, want 2 or more, and no fewer syncs\n%s", renamed, lasting, b)
	}
}
