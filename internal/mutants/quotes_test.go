package mutants_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's, as the tests of this package see it.
const root = "../.."

// apply returns the mutated text of m's file. It fails the test if a text that m replaces does not
// stand there exactly once.
func apply(t *testing.T, m mutant) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for edit := range slices.Chunk(m.edit, 2) {
		if n := strings.Count(text, edit[0]); n != 1 {
			t.Fatalf("%s has this %d times, want once: is the mutant still one?\n%s", m.file, n, edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	return text
}

// TestEachMutantHasItsTextAndItsTest takes no time, so a change that makes a mutant useless is
// reported by the tests of that change, long before "make mutants" runs.
func TestEachMutantHasItsTextAndItsTest(t *testing.T) {
	tests := make(map[string]string) // the text of a package's tests
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if apply(t, m); tests[m.pkg] == "" {
				files, err := filepath.Glob(filepath.Join(root, m.pkg, "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					b, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					tests[m.pkg] += string(b)
				}
			}
			if !strings.Contains(tests[m.pkg], "\nfunc "+m.test+"(") {
				t.Errorf("package %s has no %s", m.pkg, m.test)
			}
		})
	}
}
