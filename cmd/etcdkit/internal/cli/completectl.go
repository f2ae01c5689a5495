package cli

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
)

// upstream completes etcdctl's commands and flags, as etcdctl itself does: this program is etcdctl, too.
func (a *app) upstream(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	exe, err := os.Executable()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithDeadline(cmd.Context(), a.completing.until)
	defer cancel()
	words := append(append([]string{"ctl", cobra.ShellCompRequestCmd}, args...), typed)
	output, err := exec.CommandContext(ctx, exe, words...).Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var all []string
	for line := range strings.Lines(string(output)) {
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	all = all[:max(0, len(all)-1)] // without cobra's directive
	if len(all) == 0 {
		return a.files("")(cmd, args, typed)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
