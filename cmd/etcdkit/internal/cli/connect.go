package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// requestTimeout bounds a request to etcd whose command has no bound of its own.
const requestTimeout = 10 * time.Second

// clusterFlags adds the flags that say where the cluster is.
func clusterFlags(cmd *cobra.Command) *place.Flags {
	f := &place.Flags{Prompt: promptOf(cmd)}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringSliceVar(&f.Endpoints, "endpoints", nil, "members' client addresses, separated by commas")
	flags.StringVar(&f.Context, "context", "", "the cluster of this name: see etcdkit ctx")
	flags.StringVar(&f.CACert, "cacert", "", "authorities that may have signed the members' certificates (PEM)")
	flags.StringVar(&f.Cert, "cert", "", "the client's certificate (PEM)")
	flags.StringVar(&f.Key, "key", "", "the key of --cert (PEM)")
	flags.StringVar(&f.User, "user", "", "name; the password is in --password-file or ETCDKIT_PASSWORD")
	flags.StringVar(&f.PasswordFile, "password-file", "", "file whose first line is the password; - is stdin")
	flags.DurationVar(&f.Timeout, "dial-timeout", patience, "how long to wait while etcd does not answer")
	flags.BoolVar(&f.InsecurePlaintextPassword, "insecure-plaintext-password", false, "permit sending a password without TLS beyond this machine")
	flags.VisitAll(func(flag *pflag.Flag) { flag.Annotations = map[string][]string{clusterFlag: nil} })
	cmd.Flags().AddFlagSet(flags)
	return f
}

// promptOf prints what is asked for on a terminal.
func promptOf(cmd *cobra.Command) func(text string) {
	return func(text string) { fmt.Fprint(cmd.ErrOrStderr(), text) }
}

// clusterFlag marks the flags that a command's help lists apart from its own.
const clusterFlag = "cluster"

// ownFlags and connectionFlags are the two parts of a command's flags.
func ownFlags(cmd *cobra.Command) *pflag.FlagSet        { return flagsWhere(cmd, false) }
func connectionFlags(cmd *cobra.Command) *pflag.FlagSet { return flagsWhere(cmd, true) }

func flagsWhere(cmd *cobra.Command, marked bool) *pflag.FlagSet {
	part := pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, is := f.Annotations[clusterFlag]; is == marked {
			part.AddFlag(f)
		}
	})
	return part
}

// onCluster gives a command the flags that say where the cluster is, and lets it run with a client.
func (a *app) onCluster(cmd *cobra.Command, run func(ctx context.Context, cli *clientv3.Client, args []string) error) *cobra.Command {
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.connected(cmd, f, func(cli *clientv3.Client) error { return run(cmd.Context(), cli, args) })
	}
	return cmd
}

// lasting marks a command that goes on through an outage of etcd, once etcd has answered it.
func lasting() map[string]string { return map[string]string{goesOn: ""} }

const goesOn = "goes on"

// connected calls do with a client of the cluster that the flags mean. It ends do while etcd does not answer: see silence.
func (a *app) connected(cmd *cobra.Command, f *place.Flags, do func(cli *clientv3.Client) error) error {
	_, untilFirst := cmd.Annotations[goesOn]
	s := a.listenTo(f, untilFirst)
	return a.placed(cmd.Context(), f, func(p *place.Place) error {
		return s.during(cmd.Context(), p.Client, func() error { return do(p.Client) })
	})
}

// placed is connected for what asks the members one by one, with a bound of its own.
func (a *app) placed(ctx context.Context, f *place.Flags, do func(p *place.Place) error) error {
	p, err := a.find(ctx, f)
	if err != nil {
		return interrupted(ctx, unreachable(err))
	}
	return a.at(ctx, p, do)
}

// at calls do, and closes the place.
func (a *app) at(ctx context.Context, p *place.Place, do func(p *place.Place) error) error {
	defer p.Close()
	if err := do(p); err != nil {
		return interrupted(ctx, unreachable(explain(p.Client, a.whyUnanswered(ctx, p.Client, err))))
	}
	return nil
}

// find is place.Find. A terminal sees that it waits.
func (a *app) find(ctx context.Context, f *place.Flags) (*place.Place, error) {
	f.Waiting = func() func() { return a.out.WaitingAfter(sayAfter, "waiting for an answer of etcd") }
	return place.Find(ctx, f, a.stdin)
}

// explain says of a request without an answer which endpoints gave none, and why. Other errors stay as they are.
func explain(cli *clientv3.Client, err error) error {
	var there *destinationError
	if settled(err) || errors.As(err, &there) {
		return err
	}
	if _, isRequest := status.FromError(err); isRequest || ask.TimeIsUp(err) {
		return ask.Of(cli).Explain(err)
	}
	return err
}
