package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// newClusterTopic is the help about the flags that all commands have that ask a cluster.
func newClusterTopic() *cobra.Command {
	with := &cobra.Command{}
	clusterFlags(with)
	flags := strings.TrimRight(connectionFlags(with).FlagUsagesWrapped(helpWidth), "\n")
	return &cobra.Command{
		Use: "cluster", Short: "the flags that say which cluster a command works on",
		Long: paragraphs(
			"Each command that asks a cluster has these flags. It works on the first of these that is there: --endpoints and the other flags; --context or ETCDKIT_CONTEXT; ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS, with the variables that go with them; the context in use (see 'etcdkit ctx --help'); an etcdkit dev that runs; localhost:2379.") + "\n\nCluster flags:\n" + flags,
	}
}

// refuseUnknownTopics has "help" refuse what is no command: cobra's prints a text, and ends with exit code 0.
func refuseUnknownTopics(root *cobra.Command) {
	all := root.Commands()
	help := all[slices.IndexFunc(all, func(c *cobra.Command) bool { return c.Name() == "help" })]
	help.Short = "help about any command"
	help.Args = func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err == nil && len(rest) == 0 {
			return nil
		}
		if near := nearestVerb(cmd, rest[0]); near != "" {
			return usagef("%s has no command %q; did you mean %s?", cmd.CommandPath(), rest[0], near)
		}
		return usagef("%s has no command %q", cmd.CommandPath(), rest[0])
	}
}
