// Package means is for tests of what a machine may lack: namespaces, a database server, a free port, processors.
package means

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// RequireEnv is the variable that CI sets: then a test that lacks its means fails.
const RequireEnv = "ETCDKIT_TEST_REQUIRE_ALL"

// Missing skips a test that lacks its means, or fails it where they are required.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format+"; with "+RequireEnv+"=1 that is a failure", args...)
}

// TestsAtATime lets so many parallel tests run together, more than there are processors: they wait for leases, elections
// and processes for most of the time. TestMain calls it; -parallel counts before it.
func TestsAtATime(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

// HearHangups has SIGHUP mean to the programs that tests start what it means without nohup. TestMain calls it.
func HearHangups() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // a program is started with the default for what is caught
	}
}

// Fastest is the least of three times. One in time is enough where nothing is to take time: the machine has other work.
func Fastest(once func() time.Duration) time.Duration { return min(once(), once(), once()) }

// defaultPortWait bounds the wait for other tests, which have the port for up to a minute each.
const defaultPortWait = 5 * time.Minute

// DefaultPort gives a test etcd's default client port, localhost:2379, until it ends: tests of other
// packages that use it run at another time. The test lacks its means where a process listens there.
func DefaultPort(t testing.TB) {
	t.Helper()
	ReserveDefaultPort(t)
	if c, err := net.Dial("tcp", "localhost:2379"); err == nil {
		c.Close()
		Missing(t, "another process listens at localhost:2379")
	}
}

// ReserveDefaultPort is DefaultPort for a test that uses the port if it is free, and does without it otherwise.
func ReserveDefaultPort(t testing.TB) {
	t.Helper()
	// Of this user: another user's file cannot be opened. What else listens there, DefaultPort finds out.
	file := filepath.Join(os.TempDir(), fmt.Sprintf("etcdkit-test-2379-%d.lock", os.Getuid()))
	limit := time.After(defaultPortWait)
	for {
		lock, err := fileutil.TryLockFile(file, os.O_RDWR|os.O_CREATE, 0o666)
		if err == nil {
			t.Cleanup(func() { lock.Close() })
			break
		}
		if !errors.Is(err, fileutil.ErrLocked) {
			t.Fatalf("the lock for port 2379: %v", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-limit:
			t.Fatalf("other tests have used port 2379 for %v (%s is locked)", defaultPortWait, file)
		}
	}
}
