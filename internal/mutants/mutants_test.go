//go:build long

package mutants_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// most is how long a test may take, beside twice what it takes without a mutation. One that a mutant
// makes wait for ever fails then.
const most = 10 * time.Second

// takes is how long each test takes without a mutation, as TestWithoutAMutationTheTestsPass found.
var takes = make(map[string]time.Duration)

// bound is how long a test of a mutant may take.
func bound(test string) time.Duration { return most + 2*takes[test] }

// build makes a package's test binary, on an overlay if there is one.
func build(t *testing.T, pkg, overlay string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "test")
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "./"+pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return binary
}

// run runs tests of a package, and returns what they said. The error is theirs.
func run(t *testing.T, binary, pkg string, within time.Duration, tests ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run", "^("+strings.Join(tests, "|")+")$", "-test.timeout", within.String())
	cmd.Dir = filepath.Join(root, pkg)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(out), err
}

// mutated writes an overlay with the mutant in place of its source.
func mutated(t *testing.T, m mutant) (overlay string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	text := apply(t, m)
	copied, overlay := filepath.Join(t.TempDir(), "mutant.go"), filepath.Join(t.TempDir(), "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{source: copied}})
	if err := errors.Join(err, os.WriteFile(copied, []byte(text), 0o600), os.WriteFile(overlay, b, 0o600)); err != nil {
		t.Fatal(err)
	}
	return overlay
}

func TestWithoutAMutationTheTestsPass(t *testing.T) {
	tests := make(map[string][]string)
	for _, m := range mutants {
		if !slices.Contains(tests[m.pkg], m.test) {
			tests[m.pkg] = append(tests[m.pkg], m.test)
		}
	}
	for pkg, names := range tests {
		out, err := run(t, build(t, pkg, ""), pkg, 10*time.Minute, names...)
		if err != nil {
			t.Errorf("%s: %v\n%s", pkg, err, out)
		}
		for _, name := range names {
			_, after, passed := strings.Cut(out, "--- PASS: "+name+" (")
			if !passed {
				t.Errorf("%s: %s did not pass", pkg, name)
				continue
			}
			taken, _, _ := strings.Cut(after, ")")
			if takes[name], err = time.ParseDuration(taken); err != nil {
				t.Errorf("%s: %s took %q: %v", pkg, name, taken, err)
			}
			// What a test takes does not count what its parts take that are parallel.
			for _, part := range strings.Split(out, "--- PASS: "+name+"/")[1:] {
				_, after, _ := strings.Cut(part, " (")
				taken, _, _ := strings.Cut(after, ")")
				if d, err := time.ParseDuration(taken); err == nil {
					takes[name] = max(takes[name], d)
				}
			}
		}
	}
}

func TestEachMutantIsCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, build(t, m.pkg, mutated(t, m)), m.pkg, bound(m.test), m.test)
			switch caught := fmt.Sprint("--- FAIL: ", m.test, " ("); {
			case err == nil:
				t.Errorf("it lives: %s passes", m.test)
			case strings.Contains(out, caught):
			case strings.Contains(out, "panic: test timed out") && strings.Contains(out, m.test):
				t.Logf("caught, as %s does not end within %v", m.test, bound(m.test))
			default:
				t.Errorf("%s: %v, and not because it fails\n%s", m.test, err, out)
			}
		})
	}
}
