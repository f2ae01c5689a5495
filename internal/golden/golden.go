// Package golden compares what a test got with a file below testdata.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Check fails the test unless got is what testdata/name.golden has. With update it writes the file first.
func Check(t testing.TB, name, got string, update bool) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run go test with -update to write it)", err)
	}
	if got != string(want) {
		t.Errorf("%s (run go test with -update if the change is meant): got\n%s\nwant\n%s", file, got, want)
	}
}
