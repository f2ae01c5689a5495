package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
)

func newLogs(e *env) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use: "logs MEMBER", Short: "print a member's log, one JSON object a line", Args: usageArgs(needs("which member? etcd1, etcd2, … or leader", 1, 1)),
		RunE: func(cmd *cobra.Command, args []string) error { return e.logs(cmd.Context(), port, args[0]) },
	}
	portFlag(cmd, &port)
	return cmd
}

func (e *env) logs(ctx context.Context, port int, member string) error {
	k, err := findDev(ctx, port)
	if err != nil {
		return err
	}
	s, err := k.Status(ctx)
	if err != nil {
		return err
	}
	path, err := logOf(s, member)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("log of %s: %w", member, err)
	}
	defer f.Close()
	_, err = io.Copy(e.out.Stdout(), f)
	return err
}

// logOf is the log file of a member, which may be named "leader".
func logOf(s cluster.State, name string) (string, error) {
	if name == "leader" {
		if name = s.Quorum.Leader; name == "" {
			return "", cluster.ErrNoLeader
		}
	}
	var known []string
	for _, m := range s.Members {
		if m.Name == name {
			return m.Log, nil
		}
		known = append(known, m.Name)
	}
	return "", &usageError{&cluster.UnknownMemberError{Name: name, Known: append(known, "leader")}}
}
