package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/inventory"
)

func newLeaseShow(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "show ID", Aliases: []string{"timetolive"}, Short: "one lease, its time, and each key on it", Args: needs(whichLease, 1, 1),
		Long:    paragraphs("Shows a lease with each of its keys: what it is, and which process it is of. The exit code is 3 if there is no such lease. -o value prints the keys."),
		Example: "  etcdkit lease show 694d98a5e7a1b30c\n  etcdkit lease show 694d98a5e7a1b30c -o json\n  etcdkit lease show 694d98a5e7a1b30c -o template='{{.remaining_seconds}}'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	cmd.Flags().Bool("keys", true, "")
	_ = cmd.Flags().MarkHidden("keys") // etcdctl's, which does not show them by default
	cmd.PreRunE = checkLeases
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		id, err := leaseID(args[0])
		if err != nil {
			return err
		}
		l, err := inventory.Lookup(ctx, cli, id, nil)
		if err != nil {
			return noLease(args[0], err)
		}
		return a.leaseShow(l, format)
	})
}

func (a *app) leaseShow(l *inventory.Lease, format out.Format) error {
	switch {
	case format.Is(out.Table):
	case format.Is(out.Value):
		list := a.out.Records(format)
		for _, k := range l.Keys {
			if err := list.Add(out.Record{Value: []byte(k.Key)}); err != nil {
				return err
			}
		}
		return list.Close()
	default:
		return a.out.Record(format, nil, out.Record{JSON: leaseAsJSON(l)})
	}
	noun := "keys"
	if l.KeyCount == 1 {
		noun = "key"
	}
	text := fmt.Sprintf("lease %s: %s of %s left, %s %s", out.Hex(l.ID), wholeSeconds(l.Remaining), wholeSeconds(l.Granted), keyCount(l), noun)
	if l.KeyCount < 0 {
		text = fmt.Sprintf("lease %s: %s of %s left, with keys that the user may not read", out.Hex(l.ID), wholeSeconds(l.Remaining), wholeSeconds(l.Granted))
	}
	if err := a.out.Resultf("%s", text); err != nil {
		return err
	}
	if l.KeyCount > len(l.Keys) {
		a.say("%s more were not read", out.Count(l.KeyCount-len(l.Keys), "key"))
	}
	list := a.out.Records(format, "KEY", "REVISION", "BYTES", "WHAT")
	for _, k := range l.Keys {
		err := list.Add(out.Record{Row: []out.Cell{
			{Text: out.Safe(k.Key)}, {Text: fmt.Sprint(k.ModRevision), Right: true}, {Text: fmt.Sprint(k.ValueSize), Right: true}, {Text: keyKind(k)},
		}})
		if err != nil {
			return err
		}
	}
	return list.Close()
}

// keyKind is what a key is, where the key itself stands beside it.
func keyKind(k inventory.Key) string {
	if k.Kind == inventory.KindPlain {
		return "key"
	}
	return k.String()
}
