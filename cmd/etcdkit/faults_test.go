package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/internal/golden"
)

func TestWhatUndoesAFaultUndoesItEverywhere(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	var all strings.Builder
	for _, args := range [][]string{
		{"pause", "all"}, {"status"}, {"resume"}, {"kill", "follower"}, {"start"}, {"resume"},
		{"isolate", "all"}, {"status"}, {"heal"}, {"move-leader", "follower"},
	} {
		stdout, stderr, code := d.does(t, args...)
		if args[0] == "kill" {
			if table, _, _ := d.does(t, "status"); strings.Count(table, " killed ") != 1 {
				t.Errorf("status after %v:\n%s", args, table)
			}
		}
		fmt.Fprintf(&all, "$ etcdkit dev %s\n%s%s(exit code %d)\n\n", strings.Join(args, " "), stdout, stderr, code)
	}
	golden.Check(t, "faults-session", normal(all.String()), *update)
	d.stop(t, syscall.SIGTERM)
}

// As with "etcdkit dev logs etcd1 | head -1".
func TestOutputWithoutAReaderEndsTheCommandAsSIGPIPEDoes(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--members", "1")
	cmd := etcdkit(t, d.dir, "dev", "logs", "etcd1")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	cmd.Stdout = write
	said := newTalk()
	cmd.Stderr = said
	err = cmd.Run()
	write.Close()
	if got := cmd.ProcessState.ExitCode(); got != exitUnread || said.String() != "" {
		t.Errorf("%v, %q, exit code %d; want %d and no word", err, said, got, exitUnread)
	}
	d.stop(t, syscall.SIGTERM)
}

func TestTheEnvironmentsClusterThatDoesNotAnswerIsNamedWithItsVariable(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"tour", "race"} {
		cmd := etcdkit(t, shortDir(t), command)
		cmd.Env = append(cmd.Env, "ETCDCTL_ENDPOINTS=127.0.0.1:1")
		stdout, stderr, code := output(t, cmd)
		want := "etcdkit: no member answered: 127.0.0.1:1: connection refused (from ETCDCTL_ENDPOINTS); start that cluster, or unset ETCDCTL_ENDPOINTS: then a new cluster is started\n"
		if code != 1 || command == "race" && stdout != "" || strings.Count(stdout, "\n") > 1 || stderr != want {
			t.Errorf("%s: got %q, exit code %d, want %q", command, stdout+stderr, code, want)
		}
	}
}
