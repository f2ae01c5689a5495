package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

func newLeaseKeepAlive(a *app) *cobra.Command {
	var format out.Format
	var once bool
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "keep-alive ID", Short: "renew a lease until interrupted", Args: needs(whichLease, 1, 1),
		Long: paragraphs(
			"Renews a lease three times in its TTL, until it is interrupted; the lease then ends after its TTL. With --once it renews it once. A member that does not answer within a second is not waited for: another one is asked.",
			"While no member answers, the command says so and goes on trying: a lease can outlive its TTL, as a new leader gives it all of it again. When the lease is gone the command ends, with exit code 3."),
		Example: "  etcdkit lease keep-alive 694d98a5e7a1b30c\n  etcdkit lease keep-alive 694d98a5e7a1b30c --once\n  etcdkit lease keep-alive $(etcdkit lease grant 60 -o value)",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Template)
	cmd.Flags().BoolVar(&once, "once", false, "renew it once")
	cmd.PreRunE = checkLeases
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		id, err := leaseID(args[0])
		if err != nil {
			return err
		}
		return noLease(args[0], a.leaseKeepAlive(ctx, cli, id, once, a.out.Stream(format)))
	})
}

func (a *app) leaseKeepAlive(ctx context.Context, cli *clientv3.Client, id clientv3.LeaseID, once bool, stream *out.Records) error {
	pause := time.Second // until the TTL is known
	for away := false; ; {
		try, cancel := context.WithTimeout(ctx, requestTimeout)
		ttl, err := lease.Renew(try, cli, id)
		unanswered := try.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case unanswered && !once:
			if !away {
				a.say("%s; trying again", errtext.Text(err))
			}
			away, pause = true, time.Second
		case err != nil:
			return err
		default:
			away, pause = false, ttl/3
			if err := stream.Add(renewal(id, ttl)); err != nil {
				return err
			}
		}
		if once {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func renewal(id clientv3.LeaseID, ttl time.Duration) out.Record {
	return out.Record{
		Line: "lease " + out.Hex(id) + " renewed, TTL " + wholeSeconds(ttl),
		JSON: struct {
			Lease            string  `json:"lease"`
			RemainingSeconds float64 `json:"remaining_seconds"`
		}{out.Hex(id), ttl.Seconds()},
	}
}
