package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/keys"
)

func newElectGet(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "get NAME", Short: "the leader of an election", Args: needs("which election? etcdkit elect ls has them", 1, 1),
		Long:    paragraphs("Prints the leader's value, which it campaigned with or proclaimed since. The exit code is 3 if there is no leader."),
		Example: "  leader=$(etcdkit elect get jobs/scheduler)\n  etcdkit elect get jobs/scheduler -o json\n  etcdkit elect get jobs/scheduler || echo 'no leader'",
	}
	formatFlag(cmd, &format, out.Value, out.Table, out.JSON, out.JSONL, out.Template)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		e := election.New(cli, args[0], nil)
		defer e.Close()
		l, err := e.Leader(ctx)
		if err != nil {
			return electionError(err)
		}
		return a.out.Record(format, []string{"LEADER", "TOKEN", "KEY"}, out.Record{
			Row:   []out.Cell{{Text: out.Safe(l.Value)}, {Text: fmt.Sprint(l.Token), Right: true}, {Text: out.Safe(l.Key)}},
			Value: []byte(l.Value),
			JSON:  newLeaderJSON(l),
		})
	})
}

// leaderJSON is the leader at a moment.
type leaderJSON struct {
	Vacant   bool       `json:"vacant"`
	Value    keys.Bytes `json:"value"`
	Key      keys.Bytes `json:"key"`
	Token    int64      `json:"token"`
	Revision int64      `json:"revision"`
}

func newLeaderJSON(l election.Leader) leaderJSON {
	return leaderJSON{l.Vacant(), keys.Bytes(l.Value), keys.Bytes(l.Key), l.Token, l.Revision}
}

// electionError gives a vacant election, and a mistake in a name, their exit codes.
func electionError(err error) error {
	switch {
	case errors.Is(err, election.ErrVacant):
		return coded(ExitNotFound, err)
	case errors.Is(err, election.ErrInvalid):
		return &usageError{err}
	}
	return err
}

func newElectWatch(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "watch NAME", Short: "the leader of an election, and each change of it", Args: needs("which election? etcdkit elect ls has them", 1, 1),
		Long: paragraphs(
			"Prints the leader now and at each change of the leader or its value, also when there is none any longer. While etcd cannot be reached it prints nothing, and then the new state. It ends with a signal.",
			"As values it prints a line for each leader, and an empty one while there is none."),
		Example: "  etcdkit elect watch jobs/scheduler\n  etcdkit elect watch jobs/scheduler -o jsonl\n  etcdkit elect watch jobs/scheduler -o template='{{.value}} {{.token}}'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		e := election.New(cli, args[0], nil)
		defer e.Close()
		stream := a.out.Stream(format)
		for l, err := range e.Observe(ctx) {
			if err != nil {
				return electionError(err)
			}
			line := "no leader"
			if !l.Vacant() {
				line = fmt.Sprintf("%s  token %d  key %s", out.Safe(l.Value), l.Token, out.Safe(l.Key))
			}
			if err := stream.Add(out.Record{Line: line, Value: []byte(l.Value), JSON: newLeaderJSON(l)}); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}
