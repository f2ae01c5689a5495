package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/inventory"
)

func newLeaseRevoke(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "revoke ID...", Short: "end leases now, and delete the keys on them", Args: needs(whichLease, 1, 1000),
		Long: paragraphs(
			"Ends leases at once. etcd deletes the keys on them: a lock is lost to its holder, a leader is none any more, an instance is gone from its service (and comes back, if its process lives and uses etcdkit).",
			"It says which keys these are, and asks; elsewhere than on a terminal it needs --yes. If one of the leases is not there the exit code is 3, and nothing is done."),
		Example: "  etcdkit lease revoke 694d98a5e7a1b30c\n  etcdkit lease revoke --yes 694d98a5e7a1b30c\n  etcdkit lease ls tmp/ -o value | xargs etcdkit lease revoke --yes",
	}
	yesFlag(cmd, &yes)
	cmd.PreRunE = checkLeases
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		var leases []*inventory.Lease
		var texts []string
		for _, text := range args {
			id, err := leaseID(text)
			if err != nil {
				return err
			}
			l, err := inventory.Lookup(ctx, cli, id, nil)
			if err != nil {
				return noLease(text, err)
			}
			leases = append(leases, l)
			texts = append(texts, "revoke lease "+out.Hex(id)+", "+deletes(l))
		}
		if err := a.confirm(ctx, yes, "%s", strings.Join(texts, "; ")); err != nil {
			return err
		}
		for _, l := range leases {
			if err := a.leaseRevoke(ctx, cli, l); err != nil {
				return err
			}
		}
		return nil
	})
}

// deletes says what a revocation deletes.
func deletes(l *inventory.Lease) string {
	switch {
	case l.KeyCount < 0:
		return "which has keys that you may not read"
	case l.KeyCount == 0:
		return "which has no keys"
	}
	return fmt.Sprintf("which deletes %s: %s", out.Count(l.KeyCount, "key"), onLease(l, 5))
}

func (a *app) leaseRevoke(ctx context.Context, cli *clientv3.Client, l *inventory.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := cli.Revoke(ctx, l.ID)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound): // clientv3 repeats the request: the first try may have done it
		return a.out.Resultf("lease %s is gone", out.Hex(l.ID))
	case err != nil:
		return fmt.Errorf("revoke lease %s: %w", out.Hex(l.ID), err)
	case l.KeyCount < 0:
		return a.out.Resultf("lease %s revoked", out.Hex(l.ID))
	}
	return a.out.Resultf("lease %s revoked, with %s", out.Hex(l.ID), out.Count(l.KeyCount, "key"))
}
