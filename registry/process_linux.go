package registry

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// thisProcess identifies this process, without since. nil: /proc is not there, or is that of
// another pid namespace.
var thisProcess = sync.OnceValue(func() *process {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return nil
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(bytes.TrimSpace(boot)) == 0 {
		return nil
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil
	}
	times, err := os.Readlink("/proc/self/ns/time") // start times are moved by its offset
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	start, dead := startOf(os.Getpid())
	if start == 0 || dead {
		return nil
	}
	scope := sha256.Sum256([]byte(string(bytes.TrimSpace(boot)) + "\n" + pids + "\n" + times))
	return &process{
		scope: base64.RawURLEncoding.EncodeToString(scope[:12]),
		start: start,
		run:   rand.Text()[:6],
	}
})

// exists reports whether a pid is in use, in this process's pid namespace. Unlike /proc, which can
// hide other users' processes, the system call always knows.
func exists(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// startOf returns when a process was started, 0 if that cannot be read, and whether it is dead: it
// ended, and its parent has not asked for its exit status yet.
func startOf(pid int) (start uint64, dead bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// The second field is the name in brackets, in which anything can stand. See proc_pid_stat(5).
	at := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[at+1:])
	if at < 0 || len(fields) < 20 {
		return 0, false
	}
	const state, threads, started = 0, 17, 19
	start, err = strconv.ParseUint(string(fields[started]), 10, 64)
	if err != nil {
		return 0, false
	}
	// A first thread that ended looks the same while others run on.
	n, err := strconv.Atoi(string(fields[threads]))
	ended := fields[state][0] == 'Z' || fields[state][0] == 'X'
	return start, ended && err == nil && n <= 1
}
