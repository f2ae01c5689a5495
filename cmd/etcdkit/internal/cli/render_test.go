package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// inDir makes a directory with files, whose name golden files have as DIR.
func (s *shell) inDir(files map[string]string) (path func(name string) string) {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	s.scrub(regexp.QuoteMeta(dir), "DIR")
	return func(name string) string { return filepath.Join(dir, name) }
}

func TestRenderWritesFilesAndChecksThemBefore(t *testing.T) {
	s := newShell(t)
	s.putAt("a", "1")
	path := s.inDir(map[string]string{
		"one":     `a is {{ key "` + s.prefix + `a" }}` + "\n",
		"missing": "\n" + `{{ key "` + s.prefix + `none" }}`,
		"broken":  "\n\n{{ nonesuch }}",
		"out":     "a is 0\nstays\n",
	})
	s.scrub(`\.\d+\.tmp`, ".N.tmp")
	render := func(spec string, args ...string) []string {
		return append([]string{"render", path(spec) + ":" + path("out")}, args...)
	}
	cat := []string{"render", path("one") + ":" + path("new"), "--dry-run"}
	s.golden("render",
		cat,
		render("one", "--dry-run"),
		render("one", "--once", "--check", "echo check {} && false"),
		render("one", "--once", "--check", "cat {}", "--exec", "echo exec"),
		render("one", "--once", "--exec", "echo exec"),
		render("one", "--dry-run"),
		[]string{"render", path("one") + ":" + path("new"), "--once", "--exec", "exit 3"},
		render("missing", "--once"),
		render("broken"),
		render("one", "--min", "web=2", "--start-timeout", "300ms", "--once"),
	)
}

func TestRenderSaysWhatItIsFor(t *testing.T) {
	s := newShell(t)
	path := s.inDir(map[string]string{"t": "text"})
	spec := path("t") + ":" + path("out")
	s.golden("render-usage",
		[]string{"render", "--help"},
		[]string{"render"},
		[]string{"render", "app.tmpl"},
		[]string{"render", path("none") + ":" + path("out")},
		[]string{"render", path("t") + ":/nowhere/out"},
		[]string{"render", spec, spec},
		[]string{"render", spec, "--min", "web"},
		[]string{"render", spec, "--min", "web=0"},
		[]string{"render", spec, "--perm", "abc"},
		[]string{"render", spec, "--perm", "4755"},
		[]string{"render", spec, "--wait", "5s:1s"},
		[]string{"render", spec, "--dry-run", "--exec", "true"},
		[]string{"render", spec, "--service-prefix", "services"},
		[]string{"render", spec, "--on-change", "restart"},
		[]string{"render", spec, "--once", "--", "true"},
		[]string{"render", spec, "--", "no-such-program"},
	)
}
