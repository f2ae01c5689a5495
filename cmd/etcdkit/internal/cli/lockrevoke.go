package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lock"
)

func newLockRevoke(a *app) *cobra.Command {
	var (
		entry       string
		holder, yes bool
	)
	cmd := &cobra.Command{
		Use: "revoke NAME [--entry KEY | --holder]", Short: "take a lock from its holder, or an entry out of its queue", Args: needs("which lock? etcdkit lock ls has them", 1, 1),
		Long: paragraphs(
			"Deletes the holder's entry, so that the next process has the lock at once. It says first which process loses what, and asks. With --entry it deletes that entry of 'lock show', a waiting one, too. It deletes only the entry that it has shown: one that came meanwhile stays.",
			"The holder is told within a moment: with etcdkit its command is ended. A holder of clientv3 or 'etcdctl lock' is not told, and goes on: end its process as well.",
			"The exit code is 3 if the lock is free, or has no such entry."),
		Example: "  etcdkit lock revoke jobs/nightly\n  etcdkit lock revoke deploy --holder --yes\n  etcdkit lock revoke deploy --entry deploy/694d8f2c11a3e0b7-0",
	}
	cmd.Flags().StringVar(&entry, "entry", "", "the entry with this key")
	cmd.Flags().BoolVar(&holder, "holder", false, "all entries that hold it: a semaphore, and readers, have several")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return exclusive(cmd, "entry", "holder") }
	yesFlag(cmd, &yes)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		q, err := lockQueue(ctx, cli, args[0])
		if err != nil {
			return err
		}
		chosen, err := chosenEntries(q, entry, holder)
		if err != nil {
			return err
		}
		return a.lockRevoke(ctx, cli, chosen, yes)
	})
}

// chosenEntries are the entries that lock revoke means.
func chosenEntries(q *lock.Queue, key string, holder bool) ([]lock.Entry, error) {
	var chosen []lock.Entry
	for _, e := range q.Entries {
		if key != "" && e.Key == key || key == "" && e.Status == lock.Holds {
			chosen = append(chosen, e)
		}
	}
	switch {
	case len(chosen) == 0 && key == "":
		return nil, notFoundf("no process holds the lock %s; %s", quote.Text(q.Name), plural(int64(q.Count), "entry waits", "entries wait"))
	case len(chosen) == 0:
		return nil, notFoundf("the lock %s has no entry %s", quote.Text(q.Name), quote.Text(key))
	case len(chosen) > 1 && !holder:
		return nil, usagef("the lock %s has %d holders: --entry KEY says which, --holder means all of them", quote.Text(q.Name), len(chosen))
	}
	return chosen, nil
}

func (a *app) lockRevoke(ctx context.Context, cli *clientv3.Client, chosen []lock.Entry, yes bool) error {
	what := fmt.Sprintf("take the lock %s from %d holders", quote.Text(chosen[0].Name), len(chosen))
	if len(chosen) == 1 {
		what = fmt.Sprintf("take the lock %s from %s (key %s, token %d)", quote.Text(chosen[0].Name), chosen[0], quote.Text(chosen[0].Key), chosen[0].Token)
		if chosen[0].Status != lock.Holds {
			what = fmt.Sprintf("remove %s from the queue of the lock %s (key %s, token %d)", chosen[0], quote.Text(chosen[0].Name), quote.Text(chosen[0].Key), chosen[0].Token)
		}
	}
	if err := a.confirm(ctx, yes, "%s", what); err != nil {
		return err
	}
	gone := 0
	for _, e := range chosen {
		switch err := lock.Revoke(ctx, cli, e); {
		case errors.Is(err, lock.ErrGone) && len(chosen) == 1:
			return notFoundf("%s has left meanwhile: nothing was done", e)
		case errors.Is(err, lock.ErrGone):
			gone++
			a.out.Talkf("etcdkit: %s has left meanwhile", e)
			continue
		case err != nil:
			return err
		}
		if err := a.out.Resultf("revoked: %s", e); err != nil {
			return err
		}
		if e.Foreign {
			a.out.Talkf("etcdkit: its process is not told and goes on: end it as well")
		}
	}
	if gone > 0 {
		return notFoundf("of %d entries %d had left meanwhile", len(chosen), gone)
	}
	return nil
}
