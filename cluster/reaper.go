package cluster

import (
	"fmt"
	"io"
	"os/exec"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/procgroup"
)

// reaper cleans up when this process has ended without Close: killed, panicked, or a test
// binary that simply returned. It is a shell that waits for the end of its stdin. A nil reaper,
// where there is no shell, does nothing.
type reaper struct {
	stdin io.WriteCloser
	cmd   *exec.Cmd
}

// reap reads pids until stdin ends. It wakes those processes: a paused member cannot see that
// its parent has ended. Then it removes the directory, again until it is gone, as members that
// still run for a moment may write into it.
const reap = `pids=
while read -r pid; do pids="$pids $pid"; done
kill -CONT $pids 2>/dev/null
n=0
until rm -rf -- "$0" 2>/dev/null || [ $n -ge 50 ]; do n=$((n+1)); sleep 0.1; done`

func startReaper(dir string) (*reaper, error) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return nil, nil
	}
	cmd := exec.Command(sh, "-c", reap, dir)
	procgroup.Own(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errtext.Errorf("cluster: start %s: %w", sh, err)
	}
	return &reaper{stdin: stdin, cmd: cmd}, nil
}

// add tells the reaper of a member process.
func (r *reaper) add(pid int) {
	if r != nil {
		fmt.Fprintln(r.stdin, pid)
	}
}

// stop ends the shell; there is nothing left to clean up.
func (r *reaper) stop() {
	if r == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	r.stdin.Close()
	_ = r.cmd.Wait()
}
