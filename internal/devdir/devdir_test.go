package devdir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/internal/devdir"
)

func TestTheDirectoryIsInTheRuntimeDirectoryUnlessItsPathIsLong(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	usual := devdir.Path()
	for _, test := range []struct{ runtime, want string }{
		{filepath.Join("/run", "user", "1000"), filepath.Join("/run", "user", "1000", "etcdkit")},
		{"/" + strings.Repeat("a", 71), "/" + strings.Repeat("a", 71) + "/etcdkit"}, // 80 bytes
		{"/" + strings.Repeat("a", 72), usual},
	} {
		t.Setenv("XDG_RUNTIME_DIR", test.runtime)
		if got := devdir.Path(); got != test.want {
			t.Errorf("XDG_RUNTIME_DIR=%s: got %s, want %s", test.runtime, got, test.want)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", "/elsewhere")
	if got := devdir.Path(); got != usual && runtime.GOOS != "windows" {
		t.Errorf("with another TMPDIR: got %s, want %s", got, usual)
	}
}

func TestADirectoryOfOthersIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the mode says nothing here")
	}
	dir := filepath.Join(t.TempDir(), "dev")
	if err := devdir.Check(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: got %v, want fs.ErrNotExist", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := devdir.Check(dir); err != nil {
		t.Errorf("a private directory: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := devdir.Check(link); err == nil {
		t.Error("a link to a private directory was accepted")
	}
	for _, mode := range []fs.FileMode{0o710, 0o702, 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := devdir.Check(dir); err == nil || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR") {
			t.Errorf("mode %o: got %v, want an error that says what to do", mode, err)
		}
	}
}
