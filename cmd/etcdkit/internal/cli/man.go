package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "write the man pages into a directory", Args: needs("into which directory? as in: etcdkit man ~/.local/share/man/man1", 1, 1),
		Long:    paragraphs("Writes one man page for each command into DIR, which is made if it does not exist. They say what --help says."),
		Example: "  etcdkit man ~/.local/share/man/man1\n  etcdkit man /tmp/man && man /tmp/man/etcdkit-lock.1\n  sudo etcdkit man /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // no date: the pages of one version are always the same
			withoutBrackets(root)
			if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "etcdkit", Manual: "etcdkit"}, args[0]); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			return a.out.Resultf("%s in %s", out.Count(pages(root), "page"), out.Safe(args[0]))
		},
	}
}

// withoutBrackets gives lists of texts an empty default, as other texts have it: GenManTree prints Go's "[]".
func withoutBrackets(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.DefValue == "[]" {
			f.DefValue = `""`
		}
	})
	for _, c := range cmd.Commands() {
		withoutBrackets(c)
	}
}

// pages is how many GenManTree has written: one for each command that a person may call.
func pages(cmd *cobra.Command) int {
	n := 1
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			n += pages(c)
		}
	}
	return n
}
