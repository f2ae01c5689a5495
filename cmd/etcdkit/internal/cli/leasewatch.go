package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

func newLeaseWatch(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "watch ID", Short: "count a lease down, show renewals, and say why it ended", Args: needs(whichLease, 1, 1),
		Long: paragraphs(
			"Asks for the remaining time once a second, and five times a second near the end, until the lease has ended. It prints each renewal, and what remains: every minute, every ten seconds in the last minute, every second in the last ten.",
			"etcd does not say why a lease ended; the time tells. It was revoked if it vanished while it had time left, and has expired if its last second had come. If etcd did not answer for so long that it may be either, the lease \"ended\". While etcd does not answer the command says so, and goes on.",
			"The exit code is 0 when the lease has ended, whichever way, and 3 if there was no such lease. -o value prints only how it ended: expired, revoked or ended."),
		Example: "  etcdkit lease watch 694d98a5e7a1b30c\n  etcdkit lease watch 694d98a5e7a1b30c -o value\n  etcdkit lease watch 694d98a5e7a1b30c -o json | jq .event",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	cmd.PreRunE = checkLeases
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		id, err := leaseID(args[0])
		if err != nil {
			return err
		}
		w := leaseWatch{app: a, id: id, format: format, stream: a.out.Stream(format)}
		for look, err := range lease.Follow(ctx, cli, id) {
			if err != nil {
				return noLease(args[0], err)
			}
			if err := w.show(look); err != nil {
				return err
			}
		}
		return nil
	})
}

// leaseWatch prints what happens to a lease.
type leaseWatch struct {
	*app
	id      clientv3.LeaseID
	format  out.Format
	stream  *out.Records
	started bool
	shown   time.Duration // what remained when a line was printed last
	away    bool
}

// leaseEvent is a line of lease watch in JSON.
type leaseEvent struct {
	Time             time.Time `json:"time"`
	Lease            string    `json:"lease"`
	Event            string    `json:"event"` // remaining, renewed, restarted, unanswered, answered, expired, revoked or ended
	GrantedSeconds   float64   `json:"granted_seconds"`
	RemainingSeconds float64   `json:"remaining_seconds"` // for revoked: what remained at least
	Error            string    `json:"error"`
}

func (w *leaseWatch) show(l lease.Look) error {
	event, text := w.event(l)
	if event == "" || w.format.Is(out.Value) && l.Ended == "" {
		return nil
	}
	w.started, w.shown = true, l.Remaining
	e := leaseEvent{Time: l.At, Lease: out.Hex(w.id), Event: event, GrantedSeconds: l.Granted.Seconds(), RemainingSeconds: l.Remaining.Seconds()}
	if l.Unanswered != nil {
		e.Error = errtext.Text(l.Unanswered)
	}
	if l.Ended != "" {
		e.RemainingSeconds = l.Left.Seconds()
	}
	return w.stream.Add(out.Record{Line: l.At.Format(time.TimeOnly) + "  " + text, Value: []byte(event), JSON: e})
}

// event is what a look shows, and its line; "" for nothing worth one.
func (w *leaseWatch) event(l lease.Look) (event, text string) {
	left := fmt.Sprintf("%s of %s left", wholeSeconds(l.Remaining), wholeSeconds(l.Granted))
	wasAway := w.away
	w.away = l.Unanswered != nil
	switch {
	case l.Ended == lease.EndRevoked:
		return "revoked", fmt.Sprintf("lease %s was revoked, with at least %s left", out.Hex(w.id), l.Left.Truncate(100*time.Millisecond))
	case l.Ended == lease.EndExpired:
		return "expired", fmt.Sprintf("lease %s expired: it was not renewed within its %s", out.Hex(w.id), wholeSeconds(l.Granted))
	case l.Ended == lease.EndLost:
		return "ended", fmt.Sprintf("lease %s has ended while etcd did not answer: expired, or revoked", out.Hex(w.id))
	case w.away && !wasAway:
		return "unanswered", fmt.Sprintf("at least %s left; %s", wholeSeconds(l.Remaining), errtext.Text(l.Unanswered))
	case w.away:
		return "", ""
	case l.Renewed:
		return "renewed", "renewed: " + left
	case l.Restarted:
		return "restarted", "a new leader gave it its whole TTL again: " + left
	case wasAway:
		return "answered", "etcd answers again: " + left
	case !w.started || w.due(l.Remaining):
		return "remaining", left
	}
	return "", ""
}

// due tells whether a line of the countdown is due: fewer of them, the more time there is.
func (w *leaseWatch) due(left time.Duration) bool {
	step := time.Minute
	switch {
	case left < 10*time.Second:
		step = time.Second
	case left < time.Minute:
		step = 10 * time.Second
	}
	return left/step != w.shown/step
}
