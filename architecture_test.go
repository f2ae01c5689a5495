package etcdkit_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// architecture returns the folders that ARCHITECTURE.md maps, and the files of each.
func architecture(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	folders := make(map[string][]string)
	folderLine := regexp.MustCompile(`^([a-z0-9/]+)/(\s|$)`)
	fileLine := regexp.MustCompile(`^    ([a-z0-9_*]+\.go)( |$)`)
	at, tree := "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			tree, at = !tree, ""
			continue
		}
		if !tree {
			continue
		}
		if m := folderLine.FindStringSubmatch(line); m != nil {
			at = m[1]
			folders[at] = nil
		} else if m := fileLine.FindStringSubmatch(line); m != nil && at != "" {
			folders[at] = append(folders[at], m[1])
		}
	}
	return folders
}

// variant is the name of a file for some systems only.
var variant = regexp.MustCompile(`(^|_)(linux|unix|windows|other)\.go$`)

// TestTheArchitectureMapsEveryFile compares ARCHITECTURE.md with the tree. Files are not listed where a
// folder has one idea: one file of its name, with variants for different systems.
func TestTheArchitectureMapsEveryFile(t *testing.T) {
	mapped := architecture(t)
	if len(mapped) < 30 {
		t.Fatalf("ARCHITECTURE.md maps %d folders, want 30 at least: was its form changed?", len(mapped))
	}
	for folder, files := range mapped {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			t.Errorf("%s is in ARCHITECTURE.md and not in the tree", folder)
			continue
		}
		for _, pattern := range files {
			if found, _ := filepath.Glob(path.Join(folder, pattern)); len(found) == 0 {
				t.Errorf("%s/%s is in ARCHITECTURE.md and not in the tree", folder, pattern)
			}
		}
		sources, err := filepath.Glob(path.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var unnamed []string
		for _, source := range sources {
			name := filepath.Base(source)
			if name == "doc.go" || strings.HasSuffix(name, "_test.go") {
				continue
			}
			named := false
			for _, pattern := range files {
				if matches, _ := path.Match(pattern, name); matches {
					named = true
				}
			}
			if !named {
				unnamed = append(unnamed, name)
			}
		}
		if len(files) == 0 {
			unnamed = slices.DeleteFunc(unnamed, func(name string) bool {
				return variant.MatchString(name) || name == path.Base(folder)+".go"
			})
		}
		if len(unnamed) > 0 {
			t.Errorf("%s: ARCHITECTURE.md does not name %v", folder, unnamed)
		}
	}
	for folder := range arrows {
		_, ok := mapped[folder]
		if around := strings.HasPrefix(folder, "examples/") || strings.HasPrefix(folder, "internal/matrix") ||
			strings.HasPrefix(folder, "internal/safety") || strings.HasPrefix(folder, "internal/mutants") || folder == "."; !ok && !around {
			t.Errorf("%s is not in ARCHITECTURE.md", folder)
		}
	}
}
