package wholefile_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdkit/etcdkit/internal/wholefile"
)

func TestAFileThatIsWrittenInPartsHasItsNameWhenItIsWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "list")
	put(t, name, "old")
	f, err := wholefile.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"n", "ew"} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != "old" {
			t.Errorf("meanwhile the file has %q, %v", b, err)
		}
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abandon()
	if b, err := os.ReadFile(name); err != nil || string(b) != "new" {
		t.Errorf("the file has %q, %v, want new", b, err)
	}
	if f, err = wholefile.Create(name); err != nil {
		t.Fatal(err)
	}
	f.Abandon()
	if got := files(t, dir); !slices.Equal(got, []string{"list"}) {
		t.Errorf("left %v", got)
	}
}
