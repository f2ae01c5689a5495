package cluster

import (
	"fmt"
	"io"
	"os/exec"
)

// reaper removes a directory when this process has ended without Close: killed, panicked, or
// a test binary that simply returned. It is a shell that waits for the end of its stdin.
type reaper struct {
	stdin io.Closer
	cmd   *exec.Cmd
}

// startReaper returns nil where there is no shell: then a killed process leaves its directory.
func startReaper(dir string) (*reaper, error) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return nil, nil
	}
	// Members that still run for a moment may write into the directory: again until it is gone.
	cmd := exec.Command(sh, "-c", `read -r _; n=0; until rm -rf -- "$0" 2>/dev/null || [ $n -ge 50 ]; do n=$((n+1)); sleep 0.1; done`, dir)
	ownGroup(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cluster: start %s: %w", sh, err)
	}
	return &reaper{stdin: stdin, cmd: cmd}, nil
}

// dismiss ends the shell; there is nothing left to remove.
func (r *reaper) dismiss() {
	_ = r.cmd.Process.Kill()
	r.stdin.Close()
	_ = r.cmd.Wait()
}
