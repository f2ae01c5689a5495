// Package ticker is for tests of what ends commands in time: a command that ignores SIGTERM and records when it ran.
package ticker

import (
	"encoding/binary"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fileEnv makes a test binary the command, which writes to the file of that name.
	fileEnv = "ETCDKIT_TEST_TICK"
	// pause keeps a dozen of them from being a load of their own.
	pause = 5 * time.Millisecond
)

// Become is called first in TestMain. In a process that is to be the command it does not return.
func Become() {
	name := os.Getenv(fileEnv)
	if name == "" {
		return
	}
	signal.Ignore(syscall.SIGTERM)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 16)
	for binary.LittleEndian.PutUint64(buf, uint64(BootTime())); ; <-time.After(pause) {
		binary.LittleEndian.PutUint64(buf[8:], uint64(BootTime()))
		if _, err := f.WriteAt(buf, 0); err != nil {
			panic(err)
		}
	}
}

// BootTime is the clock of leases and of tickers.
func BootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err)
	}
	return time.Duration(now.Nano())
}

// Ticker is such a command.
type Ticker struct {
	File string   // has no content until it runs
	Argv []string // of the command
}

// New makes one. It is not started.
func New(t testing.TB) *Ticker {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tick")
	return &Ticker{file, []string{"env", fileEnv + "=" + file, os.Args[0]}}
}

// Cmd is the command, to be started once.
func (k *Ticker) Cmd() *exec.Cmd { return exec.Command(k.Argv[0], k.Argv[1:]...) }

// Ran tells when it began and when it ran last; 0 if it never ran.
func (k *Ticker) Ran() (first, last time.Duration) {
	b, err := os.ReadFile(k.File)
	if err != nil || len(b) != 16 {
		return 0, 0
	}
	return time.Duration(binary.LittleEndian.Uint64(b)), time.Duration(binary.LittleEndian.Uint64(b[8:]))
}

// Last tells when it ran last; 0 if it never ran.
func (k *Ticker) Last() time.Duration {
	_, last := k.Ran()
	return last
}
