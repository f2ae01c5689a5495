package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// reference is docs/cli.md: what all commands' --help says, in the order of the root's help.
func reference() string {
	var b strings.Builder
	b.WriteString("# The command line\n\nThis page is made from the commands themselves: it says what each --help says. `go test ./cmd/etcdkit/internal/cli -update` writes it. Recipes are in [shell.md](shell.md).\n")
	root := newRoot(&app{self: "etcdkit"})
	var contents, sections strings.Builder
	for _, g := range root.Groups() {
		fmt.Fprintf(&contents, "\n**%s**\n\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && !c.Hidden && c.Name() != "help" {
				describeTree(&contents, &sections, c, 0)
			}
		}
	}
	topic := newClusterTopic()
	fmt.Fprintf(&contents, "\n**Topics**\n\n- [etcdkit help cluster](#etcdkit-help-cluster): %s\n", topic.Short)
	fmt.Fprintf(&sections, "\n## etcdkit help cluster\n\n```text\n%s\n```\n", topic.Long)
	b.WriteString(contents.String())
	b.WriteString(sections.String())
	return b.String()
}

// describeTree describes a command and those below it.
func describeTree(contents, sections *strings.Builder, c *cobra.Command, depth int) {
	title := c.CommandPath()
	anchor := strings.ReplaceAll(title, " ", "-")
	fmt.Fprintf(contents, "%s- [%s](#%s): %s\n", strings.Repeat("  ", depth), title, anchor, c.Short)
	fmt.Fprintf(sections, "\n## %s\n\n", title)
	text := c.Long
	if text == "" {
		text = strings.ToUpper(c.Short[:1]) + c.Short[1:] + "."
	}
	fmt.Fprintf(sections, "```text\n%s\n\n%s```\n", text, c.UsageString())
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() {
			describeTree(contents, sections, child, depth+1)
		}
	}
}

func TestTheReferenceSaysWhatTheCommandsSay(t *testing.T) {
	const file = "../../../../docs/cli.md"
	got := reference()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("docs/cli.md is not what the commands say (%v); go test ./cmd/etcdkit/internal/cli -update writes it", err)
	}
}

func TestManPagesAreWrittenForEachCommand(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, code := run(t, "man", dir)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, c := range newRoot(&app{self: "etcdkit"}).Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		page, err := os.ReadFile(dir + "/etcdkit-" + c.Name() + ".1")
		if strings.Contains(string(page), "=[]") {
			t.Errorf("%s: Go's empty list is in it", c.Name())
		}
		if err != nil || !strings.Contains(string(page), ".SH NAME") {
			t.Errorf("%s: %v", c.Name(), err)
		}
	}
	if !strings.Contains(stdout, " pages in "+dir) {
		t.Errorf("got %q", stdout)
	}
}
