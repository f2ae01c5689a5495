package etcdkit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The pages are README*.md, CONTRIBUTING.md, ARCHITECTURE.md and all below docs/. Each ```go fence
// in them must compile:
//
//   - A fence is a file, declarations, statements, or declarations followed by statements.
//     Statements stand in a func() error.
//   - Packages are imported by name (see imports); unused variables and imports are no error.
//   - Names that a fence leaves free, such as ctx or cli, are declared in testdata/docs/common.go, or
//     in testdata/docs/PAGE.go for one page and its translation.
//   - A fence with the info string "go ignore: REASON" is not compiled.

// imports tells which package a name in a snippet stands for. The packages of this module are added.
var imports = map[string]string{
	"clientv3": "go.etcd.io/etcd/client/v3", "concurrency": "go.etcd.io/etcd/client/v3/concurrency",
	"rpctypes": "go.etcd.io/etcd/api/v3/v3rpc/rpctypes", "mvccpb": "go.etcd.io/etcd/api/v3/mvccpb",
	"grpc": "google.golang.org/grpc", "credentials": "google.golang.org/grpc/credentials",
	"prometheus": "github.com/prometheus/client_golang/prometheus", "goleak": "go.uber.org/goleak",
	"context": "context", "sql": "database/sql", "json": "encoding/json", "errors": "errors", "fmt": "fmt", "io": "io",
	"exec": "os/exec", "log": "log", "slog": "log/slog", "http": "net/http", "os": "os", "signal": "os/signal", "strconv": "strconv",
	"strings": "strings", "sync": "sync", "atomic": "sync/atomic", "syscall": "syscall", "testing": "testing", "time": "time",
}

// ignoredSnippets is how many fences are not compiled. Keep it small.
const ignoredSnippets = 0

func TestGoSnippetsOfTheDocsCompile(t *testing.T) {
	snippets := goSnippets(t)
	needed := map[string]bool{}
	for _, s := range snippets {
		for _, p := range s.imports {
			needed[p] = true
		}
	}
	exports := exportData(t, slices.Sorted(maps.Keys(needed)))
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("no package %s", p)
		}
		return os.Open(exports[p])
	})
	for _, s := range snippets {
		s.check(t, fset, from)
	}
	t.Logf("%d snippets", len(snippets))
}

// goSnippets are the fences of all pages that must compile. It reports those that cannot be parsed.
func goSnippets(t *testing.T) []*snippet {
	t.Helper()
	known := maps.Clone(imports)
	for dir := range arrows {
		if dir != "." && !strings.Contains(dir, "internal/") && !strings.HasPrefix(dir, "examples/") && !strings.HasPrefix(dir, "cmd/") {
			known[path.Base(dir)] = module + "/" + dir
		}
	}
	var snippets []*snippet
	ignored := 0
	for _, page := range docPages(t) {
		for _, f := range page.fences {
			word, rest, _ := strings.Cut(f.info, " ")
			reason, ignore := strings.CutPrefix(rest, "ignore")
			switch {
			case word != "go":
				continue
			case ignore && len(reason) < len(": because"):
				t.Errorf("%s:%d: a fence that is not compiled says why: ```go ignore: REASON", page.name, f.line)
				fallthrough
			case ignore:
				ignored++
				continue
			}
			s, err := newSnippet(page, f, known)
			if err != nil {
				t.Error(err)
				continue
			}
			snippets = append(snippets, s)
		}
	}
	if ignored != ignoredSnippets {
		t.Errorf("%d fences are not compiled, want %d", ignored, ignoredSnippets)
	}
	if len(snippets) < 60 && !t.Failed() {
		t.Errorf("found %d snippets of Go; the pages have more", len(snippets))
	}
	return snippets
}

// exportData has the go command compile the packages, which are in its cache after a build, and
// returns the files that describe them to a compiler.
func exportData(t *testing.T, packages []string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-export", "-json=ImportPath,Export"}, packages...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	exports := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err == io.EOF {
			return exports
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
}

// snippet is a fence as a package: itself, and the files that declare its free names.
type snippet struct {
	page    *docPage
	line    int
	files   map[string]string // by name, the fence's own with //line directives
	imports []string
}

// topLevel begins a declaration at the left margin, and topLevelEnd ends one of several lines.
var (
	topLevel    = regexp.MustCompile(`^(import|type|var|const|func)\b.*`)
	topLevelEnd = regexp.MustCompile(`^[)}]`)
)

func newSnippet(page *docPage, f docFence, known map[string]string) (*snippet, error) {
	s := &snippet{page: page, line: f.line + 1, files: map[string]string{}}
	wholeFile := strings.HasPrefix(f.text[0], "package ")
	if wholeFile {
		s.files[page.name] = fmt.Sprintf("//line %s:%d\n%s", page.name, s.line, strings.Join(f.text, "\n"))
	} else {
		s.files[page.name] = inPackage(page.name, s.line, f.text)
	}
	if !wholeFile {
		for _, name := range []string{"common", strings.TrimSuffix(path.Base(strings.Replace(page.name, ".ko.", ".", 1)), ".md")} {
			file := filepath.Join("testdata", "docs", name+".go")
			b, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return nil, err
			}
			s.files[file] = "//line " + file + ":1\n" + string(b)
		}
	}
	for name, src := range s.files {
		file, err := parser.ParseFile(token.NewFileSet(), "", src, parser.SkipObjectResolution)
		if err != nil {
			var list scanner.ErrorList
			if errors.As(err, &list) {
				return nil, list[0]
			}
			return nil, err
		}
		for _, i := range file.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		if name == page.name && !wholeFile {
			s.files[name] = addImports(src, file, known, &s.imports)
		}
	}
	return s, nil
}

// inPackage makes a package of declarations and statements, which are first there and line by line.
func inPackage(page string, line int, text []string) string {
	var imported, declared, stated strings.Builder
	last := map[*strings.Builder]int{&imported: -2, &declared: -2, &stated: -2}
	write := func(to *strings.Builder, i int) {
		if last[to] != i-1 {
			fmt.Fprintf(to, "//line %s:%d\n", page, line+i)
		}
		last[to] = i
		fmt.Fprintln(to, text[i])
	}
	for i := 0; i < len(text); i++ {
		switch {
		case !topLevel.MatchString(text[i]):
			write(&stated, i)
			continue
		case strings.HasPrefix(text[i], "import"):
			write(&imported, i)
		default:
			write(&declared, i)
		}
		if strings.HasSuffix(text[i], "{") || strings.HasSuffix(text[i], "(") {
			to := &declared
			if strings.HasPrefix(text[i], "import") {
				to = &imported
			}
			for i++; i < len(text); i++ {
				write(to, i)
				if topLevelEnd.MatchString(text[i]) {
					break
				}
			}
		}
	}
	return "package docs\n" + imported.String() + declared.String() + "func _() error {\n" + stated.String() + "\npanic(0)\n}\n"
}

// addImports imports what the file selects from and does not import itself.
func addImports(src string, file *ast.File, known map[string]string, all *[]string) string {
	have := map[string]bool{}
	for _, i := range file.Imports {
		have[strings.Trim(i.Path.Value, `"`)] = true
	}
	lines := ""
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && known[x.Name] != "" && ast.IsExported(sel.Sel.Name) && !have[known[x.Name]] {
			have[known[x.Name]] = true
			*all = append(*all, known[x.Name])
			lines += fmt.Sprintf("import %s %q; ", x.Name, known[x.Name])
		}
		return true
	})
	return strings.Replace(src, "package docs\n", "package docs; "+lines+"\n", 1)
}

// check reports what the compiler would, but for names that are not used.
func (s *snippet) check(t *testing.T, fset *token.FileSet, from types.Importer) {
	t.Helper()
	var files []*ast.File
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		f, err := parser.ParseFile(fset, "", s.files[name], parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		files = append(files, f)
	}
	conf := types.Config{Importer: from, Error: func(err error) {
		var e types.Error
		if errors.As(err, &e) && !e.Soft {
			t.Errorf("%s: %s", fset.Position(e.Pos), e.Msg)
		}
	}}
	conf.Check("docs", fset, files, nil)
}
