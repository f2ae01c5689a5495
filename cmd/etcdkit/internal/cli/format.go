package cli

import (
	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

// formatFlag adds -o to a command. The first of allowed is the default.
func formatFlag(cmd *cobra.Command, f *out.Format, allowed ...string) {
	*f = out.NewFormat(allowed[0], allowed...)
	cmd.Flags().VarP(f, "output", "o", f.Choice())
}
