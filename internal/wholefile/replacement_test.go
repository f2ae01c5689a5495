package wholefile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/internal/wholefile"
)

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAReplacementCountsWithCommitAndNotBefore(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "app.conf")
	put(t, name, "old")
	r, err := wholefile.Prepare(name, []byte("new"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "old" {
		t.Errorf("before Commit: %q", got)
	}
	if got := content(t, r.Name()); got != "new" || filepath.Dir(r.Name()) != dir {
		t.Errorf("%s has %q, want the new content in the same directory", r.Name(), got)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "new" {
		t.Errorf("after Commit: %q", got)
	}
	r, err = wholefile.Prepare(name, []byte("newer"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Abandon()
	if got := content(t, name); got != "new" {
		t.Errorf("after Abandon: %q", got)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"app.conf"}) {
		t.Errorf("left %v", got)
	}
}

func TestAReplacementKeepsTheModeUnlessAnotherIsAskedFor(t *testing.T) {
	for _, tc := range []struct{ old, perm, want fs.FileMode }{{0, 0, 0o644}, {0, 0o640, 0o640}, {0o600, 0, 0o600}, {0o666, 0, 0o666}, {0o644, 0o600, 0o600}} {
		name := filepath.Join(t.TempDir(), "app.conf")
		if tc.old != 0 {
			put(t, name, "old")
			if err := os.Chmod(name, tc.old); err != nil {
				t.Fatal(err)
			}
		}
		r, err := wholefile.Prepare(name, []byte("new"), tc.perm)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Commit(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode() != tc.want {
			t.Errorf("%v, asked for %v: got %v, %v, want %v", tc.old, tc.perm, info.Mode(), err, tc.want)
		}
	}
}

func TestAReplacementKeepsTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	name := filepath.Join(t.TempDir(), "app.conf")
	put(t, name, "old")
	const other = 12345
	if err := os.Chown(name, other, other); err != nil {
		t.Fatal(err)
	}
	r, err := wholefile.Prepare(name, []byte("new"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if uid, gid := owner(t, name); uid != other || gid != other {
		t.Errorf("owner and group are %d and %d, want %d", uid, gid, other)
	}
}

func TestAReplacementFollowsALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	put(t, target, "old")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	r, err := wholefile.Prepare(link, []byte("new"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, target); got != "new" {
		t.Errorf("the link's target has %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("got %v, %v, want the link", info, err)
	}
}

func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	nowhere := filepath.Join(dir, "nowhere")
	if err := os.Symlink("nothing", nowhere); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{dir: "not a regular file", os.DevNull: "not a regular file", nowhere: "no such file", filepath.Join(dir, "none", "x"): "no such file"} {
		if r, err := wholefile.Prepare(name, nil, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want an error with %q", name, r, err, want)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"nowhere"}) {
		t.Errorf("left %v", got)
	}
}
