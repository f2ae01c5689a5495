package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lock"
)

func newLockAcquire(a *app) *cobra.Command {
	f := new(lockFlags)
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "acquire NAME", Short: "take a lock and keep nothing running, for scripts", Args: needs("which lock? as in: etcdkit lock acquire jobs/nightly", 1, 1),
		Long: paragraphs(
			"Waits for the lock and prints a handle: one line of letters, digits, - and _, for 'lock renew' and 'lock release'. No process keeps the lock alive: it is held for --ttl from then on, and from each renewal. After that another process can have it, and the script is not told.",
			"So where it is possible, use 'etcdkit lock NAME -- CMD', which ends CMD when the lock is lost. Here, take a TTL that is longer than the longest step between two renewals, and end the script when renew fails.",
			"The exit code is 75 if the lock was not acquired in time. A signal while it waits leaves the queue."),
		Example: "  handle=$(etcdkit lock acquire jobs/nightly --timeout 10s --ttl 5m) || exit\n  trap 'etcdkit lock release \"$handle\"' EXIT\n  step-one && etcdkit lock renew \"$handle\" && step-two",
	}
	f.addWait(cmd)
	cmd.Flags().DurationVar(&f.ttl, "ttl", time.Minute, "how long the lock is held unless it is renewed; 2s at least, whole seconds")
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.check() }
	cluster := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if f.timeout <= 0 {
			return a.connected(cmd, cluster, func(cli *clientv3.Client) error { return a.lockAcquire(ctx, ctx, cli, args[0], f) })
		}
		waiting, cancel := f.bounded(ctx)
		defer cancel()
		p, err := a.findForLock(waiting, f, cluster)
		if err != nil {
			return interrupted(ctx, notAcquired(err))
		}
		return a.at(ctx, p, func(p *place.Place) error { return a.lockAcquire(ctx, waiting, p.Client, args[0], f) })
	}
	return cmd
}

// lockAcquire waits for a lock until waiting ends.
func (a *app) lockAcquire(ctx, waiting context.Context, cli *clientv3.Client, name string, f *lockFlags) (err error) {
	// While it waits it is on a lease of its own, which is shorter than --ttl: a process that dies leaves the queue soon.
	l := f.open(cli, name, &lock.SharedOptions{Logger: a.logger()})
	defer func() { err = errors.Join(err, l.Close()) }() // which leaves the queue, too
	h, err := a.acquire(waiting, l, f.nonblock)
	if err != nil {
		return notAcquired(withHolder(ctx, cli, name, err))
	}
	d, err := h.Detach(ctx, f.ttl)
	if errors.Is(err, lock.ErrUnknown) {
		return fmt.Errorf("%w; %s may be held for %v: to release it, run etcdkit lock release %s", err, quote.Text(name), f.ttl, d)
	}
	if err != nil {
		return err
	}
	if err := a.out.Printf("%s\n", d); err != nil { // without its handle it cannot be released: release it here
		return errors.Join(err, d.Release(context.WithoutCancel(ctx)))
	}
	a.out.Talkf("etcdkit: %s is held for %v, token %d", quote.Text(name), f.ttl, d.Token())
	return nil
}

func newLockRenew(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "renew HANDLE", Short: "hold a lock of 'lock acquire' for its TTL from now on", Args: needs("which handle? etcdkit lock acquire prints it", 1, 1),
		Long: paragraphs(
			"Starts the TTL of the lock again, and prints how many seconds it is held from now on. HANDLE is what 'lock acquire' printed; - reads it from stdin.",
			"The exit code is 76 if the lock is not held any longer: stop what it protects."),
		Example: "  etcdkit lock renew \"$handle\"\n  etcdkit lock renew \"$handle\" >/dev/null || exit 1\n  while sleep 20; do etcdkit lock renew - <handle >/dev/null || kill $$; done &",
	}
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		d, err := a.openHandle(ctx, cli, args[0])
		if err != nil {
			return err
		}
		left, err := d.Renew(ctx)
		if err != nil {
			return lostError(err)
		}
		return a.out.Printf("%d\n", int(left.Seconds()))
	})
}

func newLockRelease(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "release HANDLE", Short: "release a lock of 'lock acquire'", Args: needs("which handle? etcdkit lock acquire prints it", 1, 1),
		Long: paragraphs(
			"Gives the lock to the next process that waits. HANDLE is what 'lock acquire' printed; - reads it from stdin.",
			"The exit code is 76 if the lock was not held any longer: its TTL was over, it was revoked, or it was released before."),
		Example: "  etcdkit lock release \"$handle\"\n  trap 'etcdkit lock release \"$handle\"' EXIT\n  etcdkit lock release - <handle",
	}
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		d, err := a.openHandle(ctx, cli, args[0])
		if err != nil {
			return err
		}
		return lostError(d.Release(ctx))
	})
}

// openHandle reads a handle of lock acquire.
func (a *app) openHandle(ctx context.Context, cli *clientv3.Client, text string) (*lock.Detached, error) {
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(a.typed(ctx, "the handle"), 1<<16))
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(b))
	}
	d, err := lock.OpenDetached(cli, text)
	if err != nil {
		return nil, usagef("%s is no handle: want what 'etcdkit lock acquire' printed", quote.Text(text))
	}
	return d, nil
}

// lostError gives the loss of a lock its exit code.
func lostError(err error) error {
	if errors.Is(err, lock.ErrLost) {
		return coded(ExitLost, err)
	}
	return err
}
