//go:build unix

package health_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/health"
)

func TestCommandProbes(t *testing.T) {
	for script, want := range map[string]struct{ verdict, text string }{
		"echo fine":                    {"p", "fine"},
		"echo $ETCDKIT_ADDR":           {"p", "h:1"},
		"cat; echo no input":           {"p", "no input"},
		"echo half full; exit 1":       {"w", "half full"},
		"echo full >&2; exit 2":        {"f", "full"},
		"exit 2":                       {"f", "exit status 2"},
		"kill -9 $$":                   {"f", "signal: killed"},
		"yes | head -c 1000000":        {"p", "y y y"},
		"yes | head -c 1000000; false": {"w", "y y y"},
	} {
		r := open(t, "h:1", health.Command("sh", "-c", script)).Results()[0]
		got := map[health.Status]string{health.Passing: "p", health.Warning: "w", health.Critical: "f"}[r.Status]
		if got != want.verdict || !strings.HasPrefix(r.Output, want.text) || len(r.Output) > health.MaxOutput {
			t.Errorf("%s: got %+v, want %+v", script, r, want)
		}
	}
}

func TestACommandThatIsGoneFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := health.Command(name)
	if err := health.Validate(c); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Probe(bounded(t), "h:1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A process that a command started does not outlive it while it holds its output.
func TestACommandTakesWhatItStartedWithIt(t *testing.T) {
	for name, tc := range map[string]struct {
		script, verdict string
		timeout         time.Duration
	}{
		"at the timeout":                     {"sleep 300 & echo $! >PID; sleep 300", "f", time.Second},
		"at the timeout, heard or not":       {"sleep 300 >/dev/null 2>&1 & echo $! >PID; wait", "f", time.Second},
		"at the timeout, though it says no":  {"trap '' TERM; sleep 300 & echo $! >PID; sleep 300", "f", time.Second},
		"when it has ended":                  {"sleep 300 & echo $! >PID", "p", within},
		"when it has ended with a warning":   {"sleep 300 & echo $! >PID; exit 1", "w", within},
		"when it has ended without waiting":  {"sleep 300 & echo $! >PID; exit 3", "f", within},
		"and is not waited for if it cannot": {"setsid sleep 2 & echo $$ >PID", "p", within},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			defer cancel()
			begin := time.Now()
			_, err := health.Command("sh", "-c", strings.ReplaceAll(tc.script, "PID", file)).Probe(ctx, "h:1")
			if took := time.Since(begin); verdict(err) != tc.verdict || took > 30*time.Second {
				t.Errorf("%v after %v, want %s at once", err, took, tc.verdict)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			for limit := bounded(t); !ended(pid); {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-limit.Done():
					t.Fatalf("process %d still runs", pid)
				}
			}
		})
	}
}

// ended tells whether a process is gone, or has ended and was not waited for yet.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestAMegabyteFromACommandIsNotKept(t *testing.T) {
	c := health.Command("sh", "-c", "yes | head -c 1000000")
	out, err := c.Probe(bounded(t), "h:1")
	if err != nil || len(out) != 4<<10 {
		t.Errorf("%d bytes, %v, want 4 KiB", len(out), err)
	}
}
