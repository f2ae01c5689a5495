package etcdkit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// onePrefix are the packages whose errors name one package each, as internal/errtext makes them.
var onePrefix = []string{
	"lease", "mirror", "internal/ask", "client", "cluster", "doctor", "health", "registry", "internal/queue", "lock",
	"lock/fence", "election", "discovery", "discovery/grpcresolver", "discovery/httptransport", "etcdtest",
	"keys", "inventory",
}

// TestAnErrorNamesOnePackage holds two rules. What wraps an error, except in its first place, is made by
// errtext.Errorf, which takes the name of the other package away. And a text that begins with the name of a
// package begins with that of its own.
func TestAnErrorNamesOnePackage(t *testing.T) {
	for _, dir := range onePrefix {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
				checkErrors(t, filepath.Base(dir), filepath.Join(dir, name))
			}
		}
	}
}

func checkErrors(t *testing.T, pkg, file string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		from, name := called(call)
		literal, ok := call.Args[0].(*ast.BasicLit)
		if !ok || from+"."+name != "fmt.Errorf" && from+"."+name != "errors.New" && from != "errtext" {
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			return true
		}
		if from == "fmt" && strings.Contains(strings.TrimPrefix(text, "%w"), "%w") {
			t.Errorf("%s: fmt.Errorf(%q): want errtext.Errorf, which takes the other package's name away", set.Position(call.Pos()), text)
		}
		if first, _, ok := strings.Cut(text, ": "); ok && first != pkg && public(first) {
			t.Errorf("%s: %q: want the name of package %s", set.Position(call.Pos()), text, pkg)
		}
		return true
	})
}

// called returns the package and the name of the function that is called.
func called(call *ast.CallExpr) (pkg, name string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return x.Name, selector.Sel.Name
}

// public tells whether users import a package of that name.
func public(name string) bool {
	for pkg := range arrows {
		if filepath.Base(pkg) == name && !strings.Contains(pkg, "internal") && !strings.HasPrefix(pkg, "examples") {
			return true
		}
	}
	return false
}
