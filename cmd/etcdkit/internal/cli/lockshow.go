package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lock"
)

func newLockShow(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "show NAME", Short: "the holders of a lock, and what waits for it", Args: needs("which lock? etcdkit lock ls has them", 1, 1),
		Long: paragraphs(
			"Shows the queue of a lock: its holders, and the processes that wait, in the order in which they will have it. Every key below NAME/ is an entry, that of another client, too.",
			"The exit code is 3 if the lock is free."),
		Example: "  etcdkit lock show jobs/nightly\n  etcdkit lock show jobs/nightly -o json\n  etcdkit lock show deploy >/dev/null && echo 'a deploy is running'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.lockShow(ctx, cli, args[0], format)
	})
}

func (a *app) lockShow(ctx context.Context, cli *clientv3.Client, name string, format out.Format) error {
	q, err := lockQueue(ctx, cli, name)
	if err != nil {
		return err
	}
	if !format.Is(out.Table) {
		// One document for the whole lock; as values, the keys of its holders.
		l := newLockJSON(q)
		if !format.Is(out.Value) {
			return a.out.Record(format, nil, out.Record{JSON: l})
		}
		list := a.out.Records(format)
		for _, e := range q.Entries {
			if e.Status == lock.Holds {
				if err := list.Add(out.Record{Value: []byte(e.Key)}); err != nil {
					return err
				}
			}
		}
		return list.Close()
	}
	list := a.out.Records(format, "STATUS", "MODE", "AGE", "TOKEN", "PROCESS", "KEY", "DATA")
	for _, e := range q.Entries {
		colour := out.Plain
		if e.Status == lock.Holds {
			colour = out.Bold
		}
		err := list.Add(out.Record{Row: []out.Cell{
			{Text: string(e.Status), Colour: colour}, {Text: modeText(e)}, ageCell(e.Acquired, e.Since), {Text: fmt.Sprint(e.Token), Right: true},
			{Text: processOf(e)}, {Text: out.Safe(e.Key)}, {Text: out.Safe(e.Data)},
		}})
		if err != nil {
			return err
		}
	}
	if left := q.Count - len(q.Entries); left > 0 {
		a.out.Talkf("etcdkit: %d more wait", left)
	}
	return list.Close()
}

// mostEntries is how much of a queue is read: more than waits anywhere.
const mostEntries = 100_000

// lockQueue reads the queue of a lock. A lock that is free is not found.
func lockQueue(ctx context.Context, cli *clientv3.Client, name string) (*lock.Queue, error) {
	q, err := lock.Entries(ctx, cli, name, &lock.ListOptions{Limit: mostEntries})
	if err != nil {
		return nil, lockError(err)
	}
	if len(q.Entries) == 0 {
		return nil, notFoundf("the lock %s is free", quote.Text(name))
	}
	return q, nil
}

func modeText(e lock.Entry) string {
	if e.Mode == lock.Counted {
		return fmt.Sprintf("%d of %d", e.Weight, e.Size)
	}
	return string(e.Mode)
}
