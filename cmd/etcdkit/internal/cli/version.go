package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "the version of etcdkit and of the etcd inside it", Args: needs("", 0, 0),
		Example: "  etcdkit version\n  etcdkit --version\n  etcdkit ctl version",
		RunE: func(*cobra.Command, []string) error {
			return a.out.Printf("%s\n", versions())
		},
	}
}

// versions names this build and the etcd inside it.
func versions() string {
	own := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		own = info.Main.Version
	}
	return fmt.Sprintf("etcdkit %s · etcd %s", own, version.Version)
}
