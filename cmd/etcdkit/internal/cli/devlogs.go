package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func newDevLogs(a *app) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use: "logs MEMBER", Short: "print a member's log, one JSON object a line", Args: needs("which member? etcd1, etcd2, …, leader or follower", 1, 1),
		Example: "  etcdkit dev logs etcd1\n  etcdkit dev logs leader | tail -n 20\n  etcdkit dev logs follower | jq -r .msg",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.logs(cmd.Context(), port, args[0]) },
	}
	portFlag(cmd, &port)
	return cmd
}

func (a *app) logs(ctx context.Context, port int, member string) error {
	k, err := findDev(ctx, port)
	if err != nil {
		return err
	}
	m, err := k.Member(ctx, member)
	if err != nil {
		return err
	}
	f, err := os.Open(m.Log)
	if err != nil {
		return fmt.Errorf("log of %s: %w", m.Name, err)
	}
	defer f.Close()
	_, err = io.Copy(a.out.Stdout(), f)
	return err
}
