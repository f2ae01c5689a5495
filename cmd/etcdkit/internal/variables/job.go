package variables

import (
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Job runs a command with the variables of a Set.
type Job struct {
	Set      *Set
	Pristine bool // the command has no other variables
	reload.Wrapped
}

// Run runs the command to its end and returns its exit code. It is not started with keys that cannot be variables;
// when such come later it keeps what it has.
func (j *Job) Run() (code int, err error) {
	vars, err := j.Set.Variables()
	if err != nil {
		return 0, err
	}
	k := j.Keeper(func() (*exec.Cmd, error) { return j.command(vars) })
	if err := k.Start(); err != nil {
		return 0, err
	}
	pause := reload.NewGatherer(j.Pause)
	for {
		select {
		case <-j.Set.Changed():
			pause.Changed()
		case <-pause.C():
			pause.Stop()
			now, err := j.Set.Variables()
			switch {
			case err != nil:
				j.Say("%s keeps the variables that it has: %s", j.Args[0], strings.ReplaceAll(errtext.Text(err), "\n", "; "))
			case !slices.Equal(Environ(now), Environ(vars)):
				vars = now
				k.Changed()
			}
		case s := <-j.Signals:
			k.Forward(s)
		case <-k.Ended():
			if code, again, err := k.Next(); !again || err != nil {
				return code, err
			}
		}
	}
}

func (j *Job) command(vars []Variable) (*exec.Cmd, error) {
	environ := []string{} // not nil, which would be this process's
	if !j.Pristine {
		environ = os.Environ()
	}
	return j.Cmd(append(environ, Environ(vars)...)) // of two with one name exec takes the last
}
