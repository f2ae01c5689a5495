package lease_test

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
)

const clockEnv = "ETCDKIT_TEST_CLOCK" // in a time namespace: print what the clock says

// The lease's clock must be CLOCK_BOOTTIME, which goes on while the machine is suspended, and not
// CLOCK_MONOTONIC, which stands still, nor the wall clock, which jumps. A time namespace tells the first
// two apart: it sets one ahead. The wall clock is decades ahead of both.
func TestTheClockIsTheOneThatRunsWhileTheMachineIsSuspended(t *testing.T) {
	if os.Getenv(clockEnv) != "" {
		var mono unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ahead " + strconv.FormatInt(int64(lease.BootTime())-mono.Nano(), 10) + "\n")
		return
	}
	const offset = 1_000_000 * time.Second
	cmd := exec.CommandContext(t.Context(), "unshare", "--time", "--boottime", strconv.Itoa(int(offset/time.Second)),
		os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), clockEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		means.Missing(t, "no time namespace here: %v: %v: %s", cmd.Args, err, bytes.TrimSpace(out))
	}
	_, after, ok := strings.Cut(string(out), "ahead ")
	ahead, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseInt(ahead, 10, 64)
	if !ok || err != nil {
		t.Fatalf("output %q: want how far the clock is ahead", out)
	}
	if got := time.Duration(n); got < offset || got > offset+365*24*time.Hour {
		t.Errorf("in a namespace whose CLOCK_BOOTTIME is %v ahead, the lease's clock is %v ahead of CLOCK_MONOTONIC", offset, got)
	}
}
