package render_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/render"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestACheckThatFailsKeepsEveryOldFile(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	good, bad := template(t, `good {{ key "`+prefix+`a" }}`), template(t, `bad {{ key "`+prefix+`a" }}`)
	if err := os.WriteFile(bad.Output, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(t.TempDir(), "ran")
	j := jobOf(t, cli, prefix, good, bad)
	j.Check, j.Exec = `test "$ETCDKIT_RENDERED" = {} && ! grep bad {}`, "touch "+ran
	if err := j.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "the old file stays") || !strings.Contains(err.Error(), "exit code 1") {
		t.Errorf("got %v, want that the check failed", err)
	}
	if got := content(t, good.Output) + " " + content(t, bad.Output) + " " + content(t, ran); got != "none old none" {
		t.Errorf("got %q, want no file written and nothing executed", got)
	}
	if left, _ := filepath.Glob(filepath.Dir(bad.Output) + "/*"); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	j.Check = `grep -q 1 {}`
	j.Exec = "cat " + good.Output + " " + bad.Output + " >" + ran
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, ran); got != "good 1bad 1" {
		t.Errorf("executed with %q, want both files written before", got)
	}
}

func TestWhatWouldNotChangeIsNotWrittenAndNothingIsExecuted(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	one := template(t, "same")
	ran := filepath.Join(t.TempDir(), "ran")
	j := jobOf(t, cli, prefix, one)
	j.Exec = "echo ran >>" + ran
	for range 2 {
		if err := j.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, ran); got != "ran\n" {
		t.Errorf("executed: %q, want once", got)
	}
	j.Perm = 0o600 // another mode is a change
	if err := j.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(one.Output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestNothingIsWrittenWithFewerInstancesThanAskedFor(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	one := template(t, `{{ range service "web" }}{{ .Addr }} {{ end }}`)
	instance(t, cli, prefix, registry.Instance{Service: "web", ID: "a", Addr: "10.0.0.1:80"})
	instance(t, cli, prefix, registry.Instance{Service: "web", ID: "c", Addr: "10.0.0.3:80", Status: registry.Draining})
	j := jobOf(t, cli, prefix, one)
	j.Minimums = []render.Minimum{{Service: "web", Least: 2}}
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	ended, said := make(chan error, 1), make(chan string, 10)
	j.Say = func(format string, args ...any) { said <- fmt.Sprintf(format, args...) }
	go func() { ended <- j.Once(ctx) }()
	select {
	case text := <-said:
		if !strings.Contains(text, `"web"`) || !strings.Contains(text, "1 of 2") {
			t.Errorf("said %q, want which service it waits for, and how many there are", text)
		}
	case err := <-ended:
		t.Fatalf("ended with one instance: %v", err)
	}
	if got := content(t, one.Output); got != "none" {
		t.Errorf("written with one instance: %q", got)
	}
	instance(t, cli, prefix, registry.Instance{Service: "web", ID: "b", Addr: "10.0.0.2:80"})
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := content(t, one.Output); got != "10.0.0.1:80 10.0.0.2:80 " {
		t.Errorf("got %q", got)
	}

	short, stop := context.WithCancel(t.Context())
	stop()
	j.Minimums[0].Least = 9
	if err := j.Once(short); err == nil {
		t.Error("no error without enough instances")
	}
}

func TestTwoTemplatesForOneFileAreRefused(t *testing.T) {
	one, two := template(t, "1"), template(t, "2")
	two.Output = one.Output
	if err := render.Distinct([]*render.Template{one, two}); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("got %v, want that both make it", err)
	}
	two.Output = t.TempDir()
	if err := render.Distinct([]*render.Template{two}); err == nil {
		t.Error("a directory as output: got no error")
	}
	two.Output = "/nowhere/at/all"
	if err := render.Distinct([]*render.Template{two}); err == nil {
		t.Error("a directory that is not there: got no error")
	}
}
