package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// templateFor writes a template and returns the argument of render, and the file that it makes.
func templateFor(t *testing.T, text string) (spec, made string) {
	t.Helper()
	dir := t.TempDir()
	made = filepath.Join(dir, "made")
	if err := os.WriteFile(filepath.Join(dir, "template"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "template") + ":" + made, made
}

func TestRenderFollowsWhatItsTemplateDependsOn(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	put := func(id, addr string) {
		t.Helper()
		value, err := (&registry.Instance{Service: "web", ID: id, Addr: addr}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		putKey(t, cli, prefix+"services/web/"+id, value)
	}
	put("a", "10.0.0.1:80")
	putKey(t, cli, prefix+"which", "x")
	spec, made := templateFor(t, `{{ range service "web" }}{{ .Addr }} {{ end }}{{ key (printf "%s%s" "`+prefix+`" (key "`+prefix+`which")) }}`+"\n")
	k := keep(t, cli.Endpoints(), "render", spec, "--service-prefix", prefix+"services/", "--wait", "0", "--exec", "cat "+made)
	k.stderr.wait(t, "there is no key")
	k.stderr.wait(t, "waiting for it")
	putKey(t, cli, prefix+"x", "X")
	k.wants("10.0.0.1:80 X")
	put("b", "10.0.0.2:80")
	k.wants("10.0.0.1:80 10.0.0.2:80 X")
	putKey(t, cli, prefix+"y", "Y")
	putKey(t, cli, prefix+"which", "y") // another key from now on
	k.wants("10.0.0.1:80 10.0.0.2:80 Y")
	putKey(t, cli, prefix+"x", "not needed any more")
	putKey(t, cli, prefix+"y", "Y2")
	k.wants("10.0.0.1:80 10.0.0.2:80 Y2")
	k.signal(syscall.SIGTERM)
	k.ends(exitInterrupted)
}

func TestRenderKeepsItsFilesWhileEtcdIsAwayAndACheckThatFailsTheOldOne(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	putKey(t, direct, "a", "1")
	putKey(t, direct, "b", "1")
	spec, made := templateFor(t, `{{ key "a" }} {{ key "b" }}`+"\n")
	k := keep(t, []string{gate.Addr()}, "render", spec, "--wait", "0", "--check", "! grep -q bad {}", "--exec", "cat "+made)
	k.wants("1 1")
	gate.SetTarget("")
	k.stderr.wait(t, "the files stay as they are until etcd confirms it")
	putKey(t, direct, "a", "2")
	gate.SetTarget(target)
	k.wants("2 1")
	putKey(t, direct, "a", "bad")
	k.stderr.wait(t, "the old file stays: check")
	if b, err := os.ReadFile(made); err != nil || string(b) != "2 1\n" {
		t.Errorf("after a check that failed: %q, %v", b, err)
	}
	putKey(t, direct, "a", "3")
	k.wants("3 1")
	k.signal(syscall.SIGINT)
	k.ends(exitInterrupted)
}

func TestRenderStartsItsCommandWithTheFileAndRestartsItOrSendsASignal(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	for _, policy := range []string{"restart", "signal=USR1"} {
		spec, made := templateFor(t, `{{ key "`+prefix+policy+`" }}`+"\n")
		k := keep(t, cli.Endpoints(), "render", spec, "--wait", "0", "--on-change", policy, "--", "sh", "-c",
			`trap "echo term; exit 9" TERM; trap "cat `+made+`" USR1; trap "echo hup" HUP; echo "up $(cat `+made+`)"; while :; do sleep 0.05; done`)
		k.stderr.wait(t, "waiting for it")
		putKey(t, cli, prefix+policy, "1")
		k.wants("up 1")
		putKey(t, cli, prefix+policy, "2")
		if policy == "restart" {
			k.wants("term", "up 2")
		} else {
			k.wants("2")
		}
		k.signal(syscall.SIGHUP)
		k.wants("hup")
		k.signal(syscall.SIGTERM)
		k.wants("term")
		k.ends(9)
	}
}
