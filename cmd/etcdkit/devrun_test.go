package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/means"
)

// devRun makes a "dev run" of a shell's script on a cluster of one member.
func devRun(t *testing.T, dir, script string) *exec.Cmd {
	t.Helper()
	return etcdkit(t, dir, "dev", "run", "--any-port", "--members", "1", "--", "sh", "-c", script)
}

// ends waits for the end of a process, also while others have its output.
func ends(t *testing.T, cmd *exec.Cmd, within time.Duration) (code int) {
	t.Helper()
	ended := make(chan *os.ProcessState, 1)
	go func() { // ends with the process
		state, _ := cmd.Process.Wait()
		ended <- state
	}()
	select {
	case state := <-ended:
		return state.ExitCode()
	case <-time.After(within):
		_ = cmd.Process.Kill()
		t.Errorf("%v still runs after %v", cmd.Args[1:], within)
		return -1
	}
}

// runs tells whether a process that a script printed runs.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestDevRunEndsWithItsCommandAndNotWithTheOutput(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"a file", "a pipe"} {
		t.Run(to, func(t *testing.T) {
			cmd := devRun(t, shortDir(t), "sleep 60 & echo $!")
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			if to == "a file" {
				if write, err = os.Create(filepath.Join(t.TempDir(), "out")); err != nil {
					t.Fatal(err)
				}
				read, err = os.Open(write.Name())
				if err != nil {
					t.Fatal(err)
				}
			}
			defer read.Close()
			cmd.Stdout = write
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			write.Close()
			code := ends(t, cmd, 30*time.Second) // half of what the background has
			var pid int
			if _, err := fmt.Fscan(read, &pid); err != nil || code != 0 {
				t.Errorf("exit code %d, pid %d, %v; want 0 and the pid of the background", code, pid, err)
			}
			if !runs(pid) {
				t.Error("void: the command's background has ended by itself")
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

// startScript starts a dev run. said waits for the next line that its script prints.
func startScript(t *testing.T, script string) (cmd *exec.Cmd, said func() string) {
	t.Helper()
	cmd = devRun(t, shortDir(t), script)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	lines := bufio.NewReader(read)
	return cmd, func() string {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
}

func TestASignalToDevRunReachesAllThatItsCommandHasStarted(t *testing.T) {
	t.Parallel()
	cmd, said := startScript(t, "sleep 60 & echo $!; wait; echo")
	pid, err := strconv.Atoi(said())
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, cmd, 30*time.Second); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want %d", code, 128+int(syscall.SIGTERM))
	}
	deadline := time.After(20 * time.Second)
	for runs(pid) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("the sleep that the command had started (pid %d) still runs", pid)
		}
	}
}

func TestASecondSignalKillsTheCommandOfDevRun(t *testing.T) {
	t.Parallel()
	cmd, said := startScript(t, `trap "echo heard" TERM; echo up; while :; do sleep 0.1; done`)
	var begin time.Time                            // of the grace period
	for _, want := range []string{"up", "heard"} { // two that are pending at once are one
		if got := said(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if begin.IsZero() {
			begin = time.Now()
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if code := ends(t, cmd, 30*time.Second); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d, want %d", code, 128+int(syscall.SIGKILL))
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %v: the end of the grace period, not the second signal", took)
	}
}

func TestDevRunsAtTheSameTimeDoNotDisturbOneAnother(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 4 {
				cmd := devRun(t, dir, "exit 5")
				out, err := cmd.CombinedOutput()
				if cmd.ProcessState.ExitCode() != 5 || len(out) != 0 {
					t.Errorf("%v: %s, want exit code 5 and no word", err, out)
				}
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestDevRunTakesFreePortsWhereTheUsualOnesAreTakenAndSaysSo(t *testing.T) {
	means.ReserveDefaultPort(t)
	holder := "pid "
	if ln, err := net.Listen("tcp", "127.0.0.1:2379"); err == nil { // else another process has it already
		defer ln.Close()
		holder += strconv.Itoa(os.Getpid())
	}
	stdout, stderr, code := output(t, etcdkit(t, shortDir(t), "dev", "run", "--members", "1", "--", "sh", "-c", "echo $ETCDCTL_ENDPOINTS"))
	want := fmt.Sprintf("etcdkit: 127.0.0.1:2379 is held by %s", holder)
	if code != 0 || !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, "this cluster is at "+stdout) || strings.Contains(stdout, ":2379") {
		t.Errorf("got %q, %q, exit code %d, want the command on another port and %q", stdout, stderr, code, want)
	}
}

func TestAClusterOfItsOwnIsReachedWithNoSettingOfAnother(t *testing.T) {
	t.Parallel()
	means.ReserveDefaultPort(t)
	others := []string{
		"ETCDCTL_CACERT=/nowhere/ca.pem", "ETCDKIT_CERT=/nowhere/cert.pem", "ETCDCTL_KEY=/nowhere/key.pem", "ETCDKIT_USER=amy:secret",
		"ETCDCTL_PASSWORD=wrong", "ETCDCTL_INSECURE_SKIP_TLS_VERIFY=true", "ETCDKIT_INSECURE_PLAINTEXT_PASSWORD=maybe",
	}
	run := devRun(t, shortDir(t), "env | grep -E '^ETCD(KIT|CTL)_' | sort")
	run.Env = append(append(run.Env, others...), "ETCDCTL_ENDPOINTS=http://elsewhere.example:2379", "ETCDCTL_WRITE_OUT=json")
	stdout, stderr, code := output(t, run)
	var names []string
	for line := range strings.Lines(stdout) {
		name, value, _ := strings.Cut(line, "=")
		if name != "ETCDKIT_TEST_MAIN" && name != means.RequireEnv {
			names = append(names, name)
		}
		if strings.Contains(value, "elsewhere") {
			t.Errorf("the command has %s", line)
		}
	}
	if got, want := strings.Join(names, " "), "ETCDCTL_ENDPOINTS ETCDCTL_WRITE_OUT ETCDKIT_ENDPOINTS"; code != 0 || got != want {
		t.Errorf("the command has %s, want %s; exit code %d, %s", got, want, code, stderr)
	}

	race := etcdkit(t, shortDir(t), "race", "--rounds", "2", "--only", "etcdkit", "-o", "json")
	race.Env = append(race.Env, others...)
	if stdout, stderr, code := output(t, race); code != 0 {
		t.Errorf("race: exit code %d\n%s%s", code, stdout, stderr)
	}
}
