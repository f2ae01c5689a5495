package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// longestTTL is the server's bound.
const longestTTL = 9_000_000_000 // seconds

func newLeaseGrant(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "grant TTL", Short: "make a lease", Args: needs("for how long? in seconds, or as in 1m30s", 1, 1),
		Long: paragraphs(
			"Makes a lease that ends after TTL unless it is renewed, by etcdkit lease keep-alive or by a program. TTL is in whole seconds, or as in 90s, 5m or 1h30m. etcd makes a short TTL longer: its minimum is about 1.5 times the election timeout of its members, 2 s by default.",
			"-o value prints the id alone, for a script."),
		Example: "  etcdkit lease grant 60\n  id=$(etcdkit lease grant 5m -o value)\n  etcdkit put --lease=$(etcdkit lease grant 30s -o value) jobs/note busy",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	cmd.PreRunE = func(_ *cobra.Command, args []string) error { _, err := ttlSeconds(args[0]); return err } // before it connects
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		asked, err := ttlSeconds(args[0])
		if err != nil {
			return err
		}
		id, granted, err := grantLease(ctx, cli, asked)
		if err != nil {
			return err
		}
		if !format.Is(out.Table) {
			return a.out.Record(format, nil, out.Record{Value: []byte(out.Hex(id)), JSON: struct {
				Lease          string  `json:"lease"`
				GrantedSeconds float64 `json:"granted_seconds"`
			}{out.Hex(id), float64(granted)}})
		}
		if granted != asked {
			a.say("%ds is less than etcd's minimum: the TTL is %ds", asked, granted)
		}
		return a.out.Resultf("lease %s granted, TTL %s", out.Hex(id), wholeSeconds(time.Duration(granted)*time.Second))
	})
}

// ttlSeconds reads a TTL: a number of seconds, as etcdctl takes it, or a duration.
func ttlSeconds(text string) (int64, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		d, durationErr := time.ParseDuration(text)
		if durationErr != nil {
			return 0, usagef("TTL %q: want seconds, or a duration as in 90s or 5m", text)
		}
		if d%time.Second != 0 {
			return 0, usagef("TTL %s: want whole seconds", text)
		}
		seconds = int64(d / time.Second)
	}
	if seconds < 1 || seconds > longestTTL {
		return 0, usagef("TTL %s: want 1s to %d s", text, int64(longestTTL))
	}
	return seconds, nil
}

// grantLease grants a lease of an id that it chooses itself: if there is no answer, it can say which lease there may be.
func grantLease(ctx context.Context, cli *clientv3.Client, seconds int64) (id, granted int64, err error) {
	id = int64(ask.NewLeaseID())
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	granted, err = ask.GrantLease(ctx, pb.NewLeaseClient(cli.ActiveConnection()), clientv3.LeaseID(id), seconds)
	if err == nil {
		return id, granted, nil
	}
	explained := ask.Of(cli).Explain(err)
	if ask.NotApplied(err) {
		return 0, 0, fmt.Errorf("grant a lease: %w", explained)
	}
	return 0, 0, &unsureError{fmt.Errorf("grant a lease: %w", explained), "it may have been granted: see etcdkit lease show " + out.Hex(id)}
}
