package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lock"
)

// coordinating reads what coordinates below a prefix, also the empty one. Plain keys cost nothing.
func coordinating(ctx context.Context, cli *clientv3.Client, prefix string) (*inventory.Inventory, error) {
	opts := new(inventory.Options)
	if prefix != "" {
		opts.Prefixes = []string{prefix}
	}
	inv, err := inventory.Read(ctx, cli, opts)
	if err != nil {
		return nil, err
	}
	inv.Locks = slices.DeleteFunc(inv.Locks, func(q *lock.Queue) bool { return !strings.HasPrefix(q.Name, prefix) })
	inv.Elections = slices.DeleteFunc(inv.Elections, func(q *election.Queue) bool { return !strings.HasPrefix(q.Name, prefix) })
	return inv, nil
}

// listsCoordinating makes cmd a command that lists what coordinates below a prefix; none is what it says if nothing does.
func (a *app) listsCoordinating(cmd *cobra.Command, none string, columns []string, records func(*inventory.Inventory) []out.Record) *cobra.Command {
	var format out.Format
	cmd.Use, cmd.Aliases, cmd.Args = "ls [PREFIX]", []string{"list"}, needs("", 0, 1)
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		inv, err := coordinating(ctx, cli, strings.Join(args, ""))
		if err != nil {
			return err
		}
		a.inventoryNotes(inv)
		all := records(inv)
		list := a.out.Records(format, columns...)
		for _, record := range all {
			if err := list.Add(record); err != nil {
				return err
			}
		}
		if len(all) == 0 {
			a.out.Talkf("etcdkit: %s%s", none, below(args))
		}
		return list.Close()
	})
}

// below is what a message says of the prefix that a list is of; args may have none.
func below(args []string) string {
	if len(args) == 0 || args[0] == "" {
		return ""
	}
	return " below " + out.Safe(args[0])
}
