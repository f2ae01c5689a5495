package wholefile_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/wholefile"
)

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files are the names in a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAFileIsReplacedAndNothingElseIsLeft(t *testing.T) {
	for how, write := range map[string]func(string, []byte) error{"Write": wholefile.Write, "WriteDurable": wholefile.WriteDurable} {
		dir := t.TempDir()
		name := filepath.Join(dir, "list")
		put(t, name, "old")
		if err := write(name, []byte("new")); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != "new" {
			t.Errorf("%s: the file has %q, %v", how, b, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v, want mode 0600", how, info, err)
		}
		if got := files(t, dir); !slices.Equal(got, []string{"list"}) {
			t.Errorf("%s left %v", how, got)
		}
	}
}

func TestALinkIsReplacedAndItsTargetIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	victim, name := filepath.Join(dir, "victim"), filepath.Join(dir, "list")
	put(t, victim, "precious")
	if err := os.Symlink(victim, name); err != nil {
		t.Fatal(err)
	}
	if err := wholefile.Write(name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("the link's target has %q, %v", b, err)
	}
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		t.Errorf("got %v, %v, want a plain file", info, err)
	}
}

func TestAWriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "list")
	if err := os.MkdirAll(filepath.Join(name, "below"), 0o700); err != nil { // a file cannot replace it
		t.Fatal(err)
	}
	if err := wholefile.Write(name, []byte("new")); err == nil {
		t.Error("got no error")
	}
	if got := files(t, dir); !slices.Equal(got, []string{"list"}) {
		t.Errorf("left %v", got)
	}
	if err := wholefile.Write(filepath.Join(dir, "none", "list"), nil); err == nil {
		t.Error("into a directory that is not there: got no error")
	}
}

func TestOnlyOldUnfinishedFilesOfThatNameAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"list", "list.1.tmp", "list.22.tmp", "list.copy.3.tmp", "list.tmp", "list.a.tmp", "other.1.tmp"} {
		put(t, filepath.Join(dir, name), "")
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "list.333.tmp"), "is being written")
	wholefile.RemoveUnfinished(filepath.Join(dir, "list"), time.Minute)
	if got, want := files(t, dir), []string{"list", "list.333.tmp", "list.a.tmp", "list.copy.3.tmp", "list.tmp", "other.1.tmp"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	wholefile.RemoveUnfinished(filepath.Join(dir, "none", "list"), 0)
}
