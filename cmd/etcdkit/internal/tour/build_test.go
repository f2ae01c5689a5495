package tour

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAnExampleIsCalledByItsPathInTheCheckoutAndByItsImportPathElsewhere(t *testing.T) {
	checkout := t.TempDir()
	t.Chdir(checkout)
	inside := source{dir: checkout, main: true}
	for _, tc := range []struct {
		from source
		want string
	}{
		{inside, "go run ./examples/sd"},
		{source{dir: filepath.Join(checkout, "..", "other")}, "go run " + modulePath + "/examples/sd"},
		{source{version: "@v1.2.3"}, "go run " + modulePath + "/examples/sd@v1.2.3"},
	} {
		if got := tc.from.run("sd"); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.from, got, tc.want)
		}
	}
	t.Chdir(filepath.Dir(checkout))
	if got, want := inside.run("sd"), "go run ./"+filepath.Base(checkout)+"/examples/sd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	below := filepath.Join(checkout, "cmd", "etcdkit")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	if got, want := inside.run("sd"), "go run ../../examples/sd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
