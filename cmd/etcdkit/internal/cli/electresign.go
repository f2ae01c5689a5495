package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/quote"
)

func newElectResign(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "resign NAME", Short: "end the term of an election's leader, from outside", Args: needs("which election? etcdkit elect ls has them", 1, 1),
		Long: paragraphs(
			"Deletes the leader's key, so that the next candidate leads at once; without another candidate there is no leader. It says first whose term that is, and asks. It ends the term that it has shown only: a leader that came meanwhile stays.",
			"The leader is told within a moment. With etcdkit it ends its work and becomes a candidate again, behind the others. A leader of clientv3 or 'etcdctl elect' is not told, and goes on: end its process as well.",
			"The exit code is 3 if there is no leader."),
		Example: "  etcdkit elect resign jobs/scheduler\n  etcdkit elect resign jobs/scheduler --yes\n  etcdkit elect get jobs/scheduler && etcdkit elect resign jobs/scheduler --yes",
	}
	yesFlag(cmd, &yes)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.electResign(ctx, cli, args[0], yes)
	})
}

func (a *app) electResign(ctx context.Context, cli *clientv3.Client, name string, yes bool) error {
	q, err := election.Candidates(ctx, cli, name, &election.ListOptions{Limit: 1})
	if err != nil {
		return electionError(err)
	}
	if len(q.Candidates) == 0 {
		return notFoundf("%s has no leader", quote.Text(name))
	}
	leader := q.Candidates[0]
	next := "without another candidate there is no leader then"
	if q.Count > 1 {
		next = "the next candidate leads then"
	}
	if err := a.confirm(ctx, yes, "end the term of %s, the leader of %s; %s", leader, quote.Text(name), next); err != nil {
		return err
	}
	switch err := election.Revoke(ctx, cli, leader); {
	case errors.Is(err, election.ErrGone):
		return notFoundf("%s has ended its term meanwhile: nothing was done", leader)
	case err != nil:
		return err
	}
	if leader.Foreign {
		a.out.Talkf("etcdkit: its process is not told and goes on: end it as well")
	}
	return a.out.Resultf("ended: the term of %s", leader)
}
