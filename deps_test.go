package etcdkit_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/etcdkit/etcdkit"

// arrows tells which packages of this module each package may import. What is missing here may not
// exist: a new package says where it stands.
var arrows = map[string][]string{
	".":                {},
	"client":           {"internal/devdir", "internal/quote", "internal/ask", "internal/errtext"},
	"internal/port":    {},
	"cluster":          {"internal/port", "internal/procgroup", "internal/wholefile", "internal/logbuffer", "internal/errtext"},
	"doctor":           {"internal/ask", "internal/quote", "internal/errtext"},
	"health":           {"internal/errtext", "internal/procgroup", "internal/quote"},
	"internal/plot":    {},
	"internal/quote":   {},
	"internal/errtext": {},
	"internal/ask":     {"internal/errtext", "internal/quote"},
	"lease":            {"internal/ask", "internal/errtext"},
	"mirror":           {"internal/ask", "internal/errtext"},
	"registry":         {"lease", "health", "internal/ask", "internal/quote", "internal/errtext", "internal/logbuffer"},
	"internal/queue":   {"lease", "internal/ask", "internal/quote", "internal/errtext"},
	"lock":             {"lease", "internal/queue", "internal/ask", "internal/quote", "internal/errtext"},
	"lock/fence":       {"internal/quote", "internal/errtext"},
	"inventory":        {"keys", "lease", "lock", "election", "registry", "internal/ask", "internal/queue", "internal/quote", "internal/errtext"},
	"election":         {"lease", "mirror", "internal/queue", "internal/ask", "internal/quote", "internal/errtext"},
	"discovery":        {"registry", "mirror", "internal/ask", "internal/quote", "internal/errtext", "internal/wholefile", "internal/logbuffer"},
	"etcdtest":         {"cluster", "internal/port", "internal/gate", "internal/wholefile", "internal/errtext"},

	"internal/gate":      {},
	"internal/procgroup": {},
	"internal/logbuffer": {},
	"internal/devdir":    {},
	"internal/wholefile": {},

	"cmd/etcdkit": {"cluster", "cmd/etcdkit/internal/cli", "cmd/etcdkit/internal/child", "cmd/etcdkit/internal/out", "cmd/etcdkit/internal/place", "cmd/etcdkit/internal/devctl", "cmd/etcdkit/internal/quickstart"},
	"cmd/etcdkit/internal/cli": {
		"cmd/etcdkit/internal/backup", "client", "cluster", "discovery", "doctor", "election", "health", "inventory", "keys", "lease", "lock", "mirror", "registry",
		"internal/ask", "internal/errtext", "internal/quote", "internal/wholefile", "cmd/etcdkit/internal/input", "cmd/etcdkit/internal/out", "cmd/etcdkit/internal/place",
		"cmd/etcdkit/internal/child", "cmd/etcdkit/internal/devctl", "cmd/etcdkit/internal/tour", "cmd/etcdkit/internal/compare",
		"cmd/etcdkit/internal/reload", "cmd/etcdkit/internal/render", "cmd/etcdkit/internal/shells", "cmd/etcdkit/internal/top", "cmd/etcdkit/internal/variables", "cmd/etcdkit/internal/watch",
	},
	"cmd/etcdkit/internal/backup":  {"internal/ask"},
	"cmd/etcdkit/internal/out":     {},
	"cmd/etcdkit/internal/shells":  {},
	"cmd/etcdkit/internal/top":     {"doctor", "election", "inventory", "lock", "registry", "internal/errtext", "internal/quote", "cmd/etcdkit/internal/out"},
	"cmd/etcdkit/internal/input":   {},
	"cmd/etcdkit/internal/place":   {"client", "cluster", "cmd/etcdkit/internal/input", "internal/devdir", "internal/errtext", "internal/wholefile"},
	"cmd/etcdkit/internal/child":   {"internal/procgroup"},
	"cmd/etcdkit/internal/devctl":  {"cluster", "internal/devdir", "internal/wholefile", "cmd/etcdkit/internal/out"},
	"cmd/etcdkit/internal/tour":    {"lock", "internal/procgroup", "cmd/etcdkit/internal/place"},
	"cmd/etcdkit/internal/compare": {"lease", "lock", "internal/plot", "cmd/etcdkit/internal/out"},

	"cmd/etcdkit/internal/reload":    {"cmd/etcdkit/internal/child"},
	"cmd/etcdkit/internal/watch":     {"keys", "mirror", "internal/ask", "cmd/etcdkit/internal/child", "cmd/etcdkit/internal/reload"},
	"cmd/etcdkit/internal/variables": {"mirror", "internal/quote", "internal/errtext", "cmd/etcdkit/internal/child", "cmd/etcdkit/internal/reload"},
	"cmd/etcdkit/internal/render":    {"mirror", "discovery", "registry", "internal/quote", "internal/errtext", "internal/wholefile", "cmd/etcdkit/internal/out", "cmd/etcdkit/internal/reload"},

	"cmd/etcdkit/internal/quickstart": {},

	"discovery/internal/explain": {"discovery", "internal/quote", "internal/errtext"},
	"discovery/grpcresolver":     {"discovery", "discovery/internal/explain", "registry", "internal/quote", "internal/errtext"},
	"discovery/httptransport":    {"discovery", "discovery/internal/explain", "internal/quote", "internal/errtext"},
	"keys":                       {"mirror", "internal/ask", "internal/quote", "internal/errtext"},
	"metrics":                    {"lease", "lock", "election", "mirror", "registry", "discovery", "discovery/httptransport"},

	"internal/golden":             {},                                                    // for tests
	"internal/means":              {},                                                    // for tests
	"internal/queuetest":          {},                                                    // for tests
	"cmd/etcdkit/internal/ticker": {},                                                    // for tests
	"internal/safety":             {},                                                    // a test
	"internal/mutants":            {},                                                    // a test of tests
	"internal/matrix":             {"discovery/grpcresolver", "discovery/httptransport"}, // a test
	"discovery/internal/steady":   {},                                                    // for tests

	"examples/basic":    {"client"},
	"examples/watch":    {"client"},
	"examples/lease":    {"client"},
	"examples/sr":       {"client", "registry"},
	"examples/sd":       {"client", "discovery"},
	"examples/shop":     {"client", "registry", "health", "discovery/grpcresolver", "discovery/httptransport"},
	"examples/election": {"client", "election"},
	"examples/config":   {"client", "mirror"},
	"examples/fence":    {"client", "lease", "lock", "lock/fence"},
	"examples/grpc":     {"client", "registry", "health", "discovery", "discovery/grpcresolver"},
	"examples/concurrency-by-distributed-lock": {"client", "lease", "lock"},
}

// serverOwners alone may import etcd's server: it brings some 40 modules that no client needs.
var serverOwners = []string{"cluster", "cmd/etcdkit", "cmd/etcdkit/internal/backup"}

// isModule tells whether a directory is a module of its own.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// TestArrowsPointOneWay reads the imports of every package. Tests may import what it takes to
// use the package besides, and its own internal packages.
func TestArrowsPointOneWay(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (isModule(file) || file == "testdata" || strings.HasPrefix(file, ".")) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		isTest := strings.HasSuffix(file, "_test.go")
		seen[pkg] = true
		allowed, known := arrows[pkg]
		if !known && !isTest {
			t.Errorf("package %s: say in deps_test.go what it may import", pkg)
			return nil
		}
		if isTest {
			allowed = append(slices.Clone(allowed), "internal/means", "internal/golden", "internal/queuetest", "cmd/etcdkit/internal/ticker", "discovery/internal/steady", "etcdtest", "cluster", "client", "lease", "mirror", "registry", "discovery", "lock", "election", pkg)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(allowed, ours) && !(isTest && strings.HasPrefix(ours, pkg+"/internal/")) {
				t.Errorf("%s imports %s: the arrows of %s are %v", file, ours, pkg, allowed)
			}
			server := strings.HasPrefix(imported, "go.etcd.io/etcd/server/") || strings.HasPrefix(imported, "go.etcd.io/etcd/etcdutl/")
			if server && !slices.Contains(serverOwners, pkg) {
				t.Errorf("%s imports %s: only %v may", file, imported, serverOwners)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range arrows {
		if !seen[pkg] {
			t.Errorf("deps_test.go speaks of %s, which has no Go file", pkg)
		}
	}
}
