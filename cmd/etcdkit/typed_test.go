//go:build linux

package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// wantModes checks that the terminal is a shell's again when the program has ended.
func (l *liveScreen) wantModes(code int) {
	l.t.Helper()
	_ = l.cmd.Wait()
	if got := l.cmd.ProcessState.ExitCode(); got != code {
		l.t.Errorf("exit code %d, want %d: %q", got, code, l.text())
	}
	modes, err := unix.IoctlGetTermios(int(l.user.Fd()), unix.TCGETS)
	if err != nil || modes.Lflag&unix.ICANON == 0 || modes.Lflag&unix.ECHO == 0 {
		l.t.Errorf("the terminal's modes are not restored: %+v, %v", modes, err)
	}
}

func TestCtrlCEndsWhatReadsFromATerminal(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	if _, err := cli.Put(t.Context(), prefix+"k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   []string
		prompt string
	}{
		{[]string{"del", "--prefix", prefix}, "Go on? [y/N] "},
		{[]string{"put", prefix + "k", "-"}, "reading the value from the terminal"},
		{[]string{"import"}, "reading records from the terminal"},
		{[]string{"lock", "release", "-"}, "reading the handle from the terminal"},
		{[]string{"get", prefix + "k", "--user", "amy", "--password-file", "-"}, "password (it is not shown): "},
	} {
		live := startLive(t, onCluster(etcdkit(t, shortDir(t), tc.args...), cli))
		live.awaitFrom(0, tc.prompt)
		live.write("\x03")
		live.wantModes(exitInterrupted)
	}
	if resp, err := cli.Get(t.Context(), prefix+"k"); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("got %v, %v, want that the key is there", resp, err)
	}
}

// One line is the password, and the next one the answer: neither is read in the other's place.
func TestAPasswordThatIsTypedIsNotShownAndTheAnswerBehindItIsRead(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, nil))
	withPasswords(t, cli)
	live := startLive(t, onCluster(etcdkit(t, shortDir(t), "del", "--prefix", "jobs/", "--user", "root", "--password-file", "-"), cli))
	live.awaitFrom(0, "password (it is not shown): ")
	live.write("secret\n")
	live.awaitFrom(0, "Go on? [y/N] ")
	live.write("y\n")
	live.awaitFrom(0, "deleted 1 key")
	live.wantModes(0)
	if text := live.text(); strings.Contains(text, "secret") {
		t.Errorf("the password is on the screen: %q", text)
	}
}
