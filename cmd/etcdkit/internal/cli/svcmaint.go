package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/registry"
)

func newSvcMaint(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "maint NAME ID on|off", Short: "take an instance out of service, until you take that back", Args: needs("which instance, and on or off? as in: etcdkit svc maint web node1 on", 3, 3),
		Long: paragraphs(
			"on puts an instance into maintenance: it gets no new requests. off takes that back, and the instance's process writes its own status again.",
			"Maintenance holds whatever the process writes: through its checks, a lost lease, an outage of etcd, a pause and a restart, as long as the ID is the same. It works while the process is paused, too. It cannot be set for an instance that another library has registered: that has no status which its process would keep."),
		Example: "  etcdkit svc maint web node1 on --reason \"disk swap\"\n  etcdkit svc get web\n  etcdkit svc maint web node1 off",
	}
	return a.overrideCommand(cmd, registry.Maintenance)
}

func newSvcDrain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain NAME ID [on|off]", Short: "let an instance finish what it has: it gets no new requests", Args: needs("which instance? as in: etcdkit svc drain web node1", 2, 3),
		Long: paragraphs(
			"Sets the status draining: consumers send the instance no new requests, and it finishes what it has. off takes that back.",
			"It holds until it is taken back, or until the instance leaves in an orderly way: the next process with the same ID takes requests again. When that must not happen, use 'svc maint'."),
		Example: "  etcdkit svc drain web node1 --reason \"deploy v2\"\n  etcdkit svc drain web node1 && sleep 30 && ssh node1 systemctl restart web\n  etcdkit svc drain web node1 off",
	}
	return a.overrideCommand(cmd, registry.Draining)
}

func (a *app) overrideCommand(cmd *cobra.Command, status registry.Status) *cobra.Command {
	var prefix, reason string
	off := false
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people; consumers see it")
	cmd.PreRunE = func(_ *cobra.Command, args []string) error {
		off = len(args) == 3 && args[2] == "off"
		switch {
		case len(args) == 3 && args[2] != "on" && !off:
			return usagef("%q: want on or off", args[2])
		case off && reason != "":
			return usagef("--reason is for on")
		}
		return nil
	}
	return a.onServices(cmd, &prefix, func(ctx context.Context, op *registry.Operator, args []string) error {
		if off {
			return a.clearOverride(ctx, op, args[0], args[1])
		}
		return a.setOverride(ctx, op, args[0], args[1], registry.Override{Status: status, Reason: reason, By: thisOperator()})
	})
}

func (a *app) setOverride(ctx context.Context, op *registry.Operator, service, id string, said registry.Override) error {
	if err := op.SetOverride(ctx, service, id, said); err != nil {
		return err
	}
	verb, done := "drain", "drained"
	if said.Status == registry.Maintenance {
		verb, done = "maint", "in maintenance"
	}
	serving := ""
	if all, err := op.Records(ctx, service); err == nil { // the status is set, whatever this says
		n, others := 0, 0
		for i := range all {
			switch r := &all[i]; {
			case r.ID == id || !r.Registered():
			case takesRequests(r):
				n++
				fallthrough
			default:
				others++
			}
		}
		switch {
		case n == 0:
			serving = "; no other instance takes requests"
		case n == others:
			serving = "; new requests go to " + out.Count(n, "other instance")
		default:
			serving = fmt.Sprintf("; new requests go to %d of the other %d instances", n, others)
		}
	}
	return a.out.Resultf("%s/%s: %s%s; '%s svc %s %[1]s %[2]s off' takes it back", out.Safe(service), out.Safe(id), done, serving, a.self, verb)
}

func (a *app) clearOverride(ctx context.Context, op *registry.Operator, service, id string) error {
	was, err := op.ClearOverride(ctx, service, id)
	switch {
	case errors.Is(err, registry.ErrNoOverride):
		return a.out.Resultf("%s/%s: nothing was set", out.Safe(service), out.Safe(id))
	case err != nil:
		return err
	}
	said := cmp.Or(string(was.Status), "an override that cannot be read")
	r, err := ownStatus(ctx, op, service, id)
	switch {
	case errors.Is(err, registry.ErrNotRegistered):
		return a.out.Resultf("%s/%s: %s is taken back; it is not registered", out.Safe(service), out.Safe(id), said)
	case err != nil:
		return err
	case r.Instance.Status == was.Status:
		return a.out.Resultf("%s/%s: %s is taken back; its process has not written its own status yet", out.Safe(service), out.Safe(id), said)
	}
	return a.out.Resultf("%s/%s: %s", out.Safe(service), out.Safe(id), r.Instance.Status)
}

const (
	// answersWithin is how long a process that runs takes to write its own status, on a busy machine.
	answersWithin = 2 * time.Second
	answerPoll    = 25 * time.Millisecond
)

// ownStatus waits until an instance's process has written its own status after an override, and returns the record as
// it is at the end.
func ownStatus(ctx context.Context, op *registry.Operator, service, id string) (r registry.Record, err error) {
	late := time.After(answersWithin)
	first, err := op.Record(ctx, service, id)
	for r = first; err == nil && r.Registered() && r.ModRevision == first.ModRevision && !takesRequests(&r); r, err = op.Record(ctx, service, id) {
		select {
		case <-time.After(answerPoll):
		case <-late:
			return r, nil
		case <-ctx.Done():
			return r, interrupted(ctx, ctx.Err())
		}
	}
	return r, err
}

// thisOperator is the person who calls this program.
func thisOperator() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); err == nil && name == "" {
		name = u.Username
	}
	return operatorName(name, hostName())
}

func newSvcDeregister(a *app) *cobra.Command {
	var prefix string
	var yes, force bool
	cmd := &cobra.Command{
		Use: "deregister NAME ID", Aliases: []string{"rm"}, Short: "delete an instance whose process is gone", Args: needs("which instance? as in: etcdkit svc deregister web node1", 2, 2),
		Long: paragraphs(
			"Deletes the key of an instance whose process is gone, or that is on no lease and so never goes by itself. Nothing is deleted if the key changes meanwhile: exit code 3.",
			"A process that lives registers its instance again within a second. So it is refused then: 'svc maint' and 'svc drain' take such an instance out of service, and 'kill' ends it. Finding out takes up to 8 s. --force deletes the key without asking whether its process lives."),
		Example: "  etcdkit svc deregister web node1\n  etcdkit svc deregister legacy 10.0.0.9:80 --yes\n  etcdkit svc deregister web node1 --force --yes",
	}
	yesFlag(cmd, &yes)
	cmd.Flags().BoolVar(&force, "force", false, "also if its process may live")
	return a.onServices(cmd, &prefix, func(ctx context.Context, op *registry.Operator, args []string) error {
		return a.deregister(ctx, op, args[0], args[1], yes, force)
	})
}

func (a *app) deregister(ctx context.Context, op *registry.Operator, service, id string, yes, force bool) error {
	r, err := op.Record(ctx, service, id)
	if err != nil {
		return err
	}
	if !r.Registered() {
		return notFoundf("%s/%s is not registered; its override is removed by: %s svc maint %[1]s %[2]s off", out.Safe(service), out.Safe(id), a.self)
	}
	if err := a.confirm(ctx, yes, "delete %s (%s)", out.Safe(r.Key), out.Safe(describeRecord(&r))); err != nil {
		return err
	}
	if force {
		err = op.Delete(ctx, r)
	} else {
		done := a.out.Waiting("looking whether its process lives")
		_, err = op.Deregister(ctx, service, id)
		done()
	}
	if errors.Is(err, registry.ErrExists) {
		a.out.Talkf("etcdkit: '%s svc maint %s %s on' takes it out of service; --force deletes its key all the same", a.self, out.Safe(service), out.Safe(id))
	}
	if err != nil {
		return err
	}
	return a.out.Resultf("%s: deleted", out.Safe(r.Key))
}

// describeRecord is a record in a few words.
func describeRecord(r *registry.Record) string {
	if r.Err != nil {
		return "not an instance"
	}
	return address(&r.Instance) + ", " + string(r.Instance.Status)
}
