package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/registry"
)

func newSvc(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "svc", Short: "services: run a command as one, list them, take instances out",
		Long: paragraphs(
			"An instance of a service is a key, /services/NAME/ID, on a lease. It is there as long as its process keeps it, and says where others reach it and whether it takes requests.",
			"'svc register' keeps it for a command in any language. The other commands look at instances and change them from outside; they show what other libraries have written, too."),
		Example: "  etcdkit svc register web --port 8080 -- ./server\n  etcdkit svc get web\n  etcdkit svc maint web node1 on --reason \"disk swap\"",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSvcRegister(a), newSvcLs(a), newSvcGet(a), newSvcWatch(a), newSvcDrain(a), newSvcMaint(a), newSvcDeregister(a))
	return cmd
}

// prefixFlag says where services are.
func prefixFlag(cmd *cobra.Command, prefix *string) {
	cmd.Flags().StringVar(prefix, "prefix", registry.DefaultPrefix, "where services are: keys are PREFIX + NAME/ID")
}

// onServices is onCluster for a command that works with an Operator.
func (a *app) onServices(cmd *cobra.Command, prefix *string, run func(ctx context.Context, op *registry.Operator, args []string) error) *cobra.Command {
	return a.onServicesClient(cmd, prefix, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		op, err := registry.NewOperator(cli, *prefix)
		if err != nil {
			return err
		}
		return run(ctx, op, args)
	})
}

// onServicesClient is onCluster with --prefix, and the exit codes of package registry.
func (a *app) onServicesClient(cmd *cobra.Command, prefix *string, run func(ctx context.Context, cli *clientv3.Client, args []string) error) *cobra.Command {
	prefixFlag(cmd, prefix)
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.connected(cmd, f, func(cli *clientv3.Client) error { return serviceError(run(cmd.Context(), cli, args)) })
	}
	return cmd
}

// serviceError gives errors of package registry their exit codes.
func serviceError(err error) error {
	switch {
	case errors.Is(err, registry.ErrInvalid):
		return &usageError{err}
	case errors.Is(err, registry.ErrNotRegistered), errors.Is(err, registry.ErrChanged):
		return coded(ExitNotFound, err)
	}
	return err
}

// takesRequests tells whether a record is an instance that takes requests.
func takesRequests(r *registry.Record) bool {
	return r.Registered() && r.Err == nil && r.Instance.Status.Serving()
}

// address is where an instance is reached.
func address(i *registry.Instance) string {
	if i.Raw != "" {
		return i.Raw
	}
	return i.Addr
}

// operatorName is who a person is, as an override says.
func operatorName(user, host string) string {
	if user == "" {
		user = "unknown"
	}
	return fmt.Sprintf("%s@%s", user, host)
}
