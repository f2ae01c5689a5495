package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/inventory"
)

func newLeaseLs(a *app) *cobra.Command {
	var format out.Format
	var most int
	cmd := &cobra.Command{
		Use: "ls [PREFIX]", Aliases: []string{"list"}, Short: "all leases, the next to end first, and what is on them", Args: needs("", 0, 1),
		Long: paragraphs(
			"Lists the leases: their TTL, what remains of it, how many keys they have, and what these are: entries of locks, candidates of elections, instances of services (also those of clientv3, etcdctl and etcd's naming package), or other keys. With PREFIX only leases with a key below it.",
			"It asks one question a lease, 16 at a time, and reads the keys on them; other keys cost nothing. A user that may not read a key on every lease sees those with a key that its roles permit: etcdkit then reads all keys below these prefixes (or below PREFIX), and says so."),
		Example: "  etcdkit lease ls\n  etcdkit lease ls jobs/\n  etcdkit lease ls -o template='{{.lease}} {{.remaining_seconds}}'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	cmd.Flags().IntVar(&most, "limit", 10_000, "leases that are looked at; the others are counted")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if most < 1 {
			return usagef("--limit %d: want 1 or more", most)
		}
		return nil
	}
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.leaseLs(ctx, cli, format, &inventory.Options{Prefixes: args, MostLeases: most})
	})
}

func (a *app) leaseLs(ctx context.Context, cli *clientv3.Client, format out.Format, opts *inventory.Options) error {
	done := a.out.Waiting("reading the leases")
	inv, err := inventory.Read(ctx, cli, opts)
	done()
	if err != nil {
		return err
	}
	a.inventoryNotes(inv)
	if inv.OmittedLeases > 0 {
		a.say("a larger --limit looks at more")
	}
	leases := inv.Leases
	if len(opts.Prefixes) > 0 {
		leases = slices.DeleteFunc(leases, func(l *inventory.Lease) bool { return len(l.Keys) == 0 })
	}
	slices.SortStableFunc(leases, func(x, y *inventory.Lease) int { return cmp.Compare(x.Remaining, y.Remaining) })
	list := a.out.Records(format, "LEASE", "TTL", "REMAINING", "KEYS", "ON IT")
	for _, l := range leases {
		err := list.Add(out.Record{
			Row: []out.Cell{
				{Text: out.Hex(l.ID)}, {Text: wholeSeconds(l.Granted), Right: true}, {Text: wholeSeconds(l.Remaining), Right: true},
				{Text: keyCount(l), Right: true}, {Text: onLease(l, 2)},
			},
			Value: []byte(out.Hex(l.ID)),
			JSON:  leaseAsJSON(l),
		})
		if err != nil {
			return err
		}
	}
	if len(leases) == 0 {
		what := "no leases"
		if len(opts.Prefixes) > 0 {
			what += " with a key"
		}
		a.say("%s%s", what, below(opts.Prefixes))
	}
	return list.Close()
}

// inventoryNotes says what the list lacks.
func (a *app) inventoryNotes(inv *inventory.Inventory) {
	if inv.Ranges != nil {
		var ranges []string
		for _, r := range inv.Ranges {
			ranges = append(ranges, r.String())
		}
		a.say("the user may not read a key of every lease: only leases with %s are listed", strings.Join(ranges, ", "))
	}
	if inv.OmittedLeases > 0 {
		a.say("%s more were not looked at", out.Count(inv.OmittedLeases, "lease"))
	}
	if inv.OmittedKeys > 0 {
		a.say("%s more were not read", out.Count(inv.OmittedKeys, "key"))
	}
	for _, name := range inv.Incomplete {
		a.say("%s has more keys below it than were read: which of them holds or leads is not certain", out.Safe(name))
	}
}
