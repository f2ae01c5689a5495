package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/compare"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

// arguments are what may stand as the arguments of each command. Of one that is not here nothing is offered.
func (a *app) arguments() map[string]arguments {
	these := func(at ...cobra.CompletionFunc) arguments { return arguments{at: at} }
	key, lockName, election, lease := a.live(keyNames), a.live(lockNames), a.live(electionNames), a.live(leaseIDs)
	service, instance := a.inServices(serviceNames), a.inServices(instanceIDs)
	context, command := a.found(contextNames), offer("--")
	all := map[string]arguments{
		"lock": these(lockName, command), "lock run": these(lockName, command),
		"lock acquire": these(lockName), "lock ls": these(lockName), "lock show": these(lockName), "lock revoke": these(lockName),
		"elect": these(election, command), "elect run": these(election, command),
		"elect get": these(election), "elect watch": these(election), "elect resign": these(election), "elect ls": these(election),
		"svc register": these(service), "svc get": these(service), "svc watch": these(service),
		"svc drain": these(service, instance, offer("on", "off")), "svc maint": these(service, instance, offer("on", "off")),
		"svc deregister": these(service, instance),
		"watch":          these(key, key), "env": these(command),
		"render": {rest: a.files(":")}, // TEMPLATE:OUT

		"lease ls": these(key), "lease show": these(lease), "lease watch": these(lease), "lease keep-alive": these(lease),
		"lease revoke": {rest: lease},

		"get": these(key, key), "del": these(key, key), "put": these(key, a.value), "ls": these(key), "tree": these(key),
		"history": these(key), "undelete": these(key), "export": these(key), "import": these(a.files("")),
		"copy":          these(key, a.liveOn(destinationOf, keyNames)),
		"snapshot save": these(a.files("")), "snapshot status": these(a.files("")), "snapshot restore": these(a.files("")),

		"ctx use": these(context), "ctx rm": these(context), "man": these(a.directories()), "completion": these(offer(completionShells()...)),
		"dev logs": these(a.devMembers("leader", "follower")),
		"ctl":      {rest: a.upstream},
	}
	for _, f := range devctl.Faults() {
		switch member := a.devMembers("leader", "follower", "all"); f.Args {
		case "":
		case "A[,B] [C,…]":
			all["dev "+f.Verb] = arguments{rest: a.memberGroups}
		default:
			all["dev "+f.Verb] = these(member)
		}
	}
	return all
}

// flagValue is what may stand as the value of a command's flag; nil is nothing.
func (a *app) flagValue(path string, f *pflag.Flag) cobra.CompletionFunc {
	if format, is := f.Value.(*out.Format); is {
		return offer(format.Choices()...)
	}
	all := a.flagValues()
	if special, is := all[path+" --"+f.Name]; is {
		return special
	}
	return all[f.Name]
}

// flagValues are what may stand as the values of flags: of all flags of a name, or of one command's.
func (a *app) flagValues() map[string]cobra.CompletionFunc {
	context, file, key := a.found(contextNames), a.files(""), a.live(keyNames)
	values := map[string]cobra.CompletionFunc{
		"context": context, "to-context": context,
		"file": file, "ready-file": file, "svg": file, "data-dir": a.directories(), "wal-dir": a.directories(), "kubeadm": a.directories(),
		"output":  offer("text", "json"), // of commands without an out.Format
		"members": offer("1", "3", "5"), "only": offerList(compare.Locks()...), "x": offer(string(compare.Time), string(compare.Updates)),
		"on-change": a.found(policies), "initial": offer("run", "skip"), "min": a.inServices(serviceMinimums), "service-prefix": key,
		"lease": a.live(leaseIDs), "entry": a.live(lockEntries), "prefix-to": key,
		"leases": offer(string(keys.RemakeLeases), string(keys.SkipLeased), string(keys.DropLeases)),
		"order":  offer("ASCEND", "DESCEND"), "sort-by": offer("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"), "consistency": offer("l", "s"),
		"env --prefix": key,
	}
	for _, name := range []string{"cacert", "cert", "key", "password-file"} {
		values[name], values["to-"+name] = file, file
	}
	for _, verb := range []string{"register", "ls", "get", "watch", "drain", "maint", "deregister"} {
		values["svc "+verb+" --prefix"] = key
	}
	return values
}

// value completes a value: that of put, which may be @FILE.
func (a *app) value(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.HasPrefix(typed, "@") {
		return a.files("@")(cmd, args, typed)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// keyNames are the keys and folders that begin with what is typed, one level at a time.
func keyNames(ctx context.Context, cli *clientv3.Client, _ []string, typed string) (all []string, err error) {
	for child, err := range keys.Level(ctx, cli, typed, nil) {
		if err != nil {
			return nil, err
		}
		if child.Key != nil {
			all = append(all, child.Path)
		}
		if child.Below != "" {
			all = append(all, child.Below)
		}
		if len(all) > mostCompletions {
			break
		}
	}
	return all, nil
}

// lockNames are the names of locks that are held or waited for.
func lockNames(ctx context.Context, cli *clientv3.Client, _ []string, typed string) (all []string, err error) {
	inv, err := coordinating(ctx, cli, typed)
	if err != nil {
		return nil, err
	}
	for _, q := range inv.Locks {
		all = append(all, q.Name)
	}
	return all, nil
}

// lockEntries are the keys of the entries of a lock.
func lockEntries(ctx context.Context, cli *clientv3.Client, args []string, _ string) (all []string, err error) {
	if len(args) == 0 {
		return nil, nil
	}
	q, err := lock.Entries(ctx, cli, args[0], &lock.ListOptions{Limit: mostCompletions + 1})
	if err != nil {
		return nil, err
	}
	for _, e := range q.Entries {
		all = append(all, e.Key+"\t"+string(e.Status)+": "+e.String())
	}
	return all, nil
}

// electionNames are the names of elections that have a leader.
func electionNames(ctx context.Context, cli *clientv3.Client, _ []string, typed string) (all []string, err error) {
	inv, err := coordinating(ctx, cli, typed)
	if err != nil {
		return nil, err
	}
	for _, q := range inv.Elections {
		all = append(all, q.Name)
	}
	return all, nil
}

// leaseIDs are the ids of leases.
func leaseIDs(ctx context.Context, cli *clientv3.Client, _ []string, typed string) (all []string, err error) {
	resp, err := cli.Leases(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range resp.Leases {
		all = append(all, out.Hex(int64(l.ID)))
	}
	return all, nil
}

// inServices is live for names in the services below --prefix or --service-prefix.
func (a *app) inServices(find func(ctx context.Context, cli *clientv3.Client, prefix string, args []string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		prefix, err := cmd.Flags().GetString("prefix")
		if err != nil {
			prefix, _ = cmd.Flags().GetString("service-prefix") // render's
		}
		return a.live(func(ctx context.Context, cli *clientv3.Client, args []string, _ string) ([]string, error) {
			return find(ctx, cli, prefix, args)
		})(cmd, args, typed)
	}
}

// serviceNames are the names of services that have an instance.
func serviceNames(ctx context.Context, cli *clientv3.Client, prefix string, _ []string) (all []string, err error) {
	found, err := discovery.Services(ctx, cli, &discovery.Options{Prefix: prefix})
	for _, s := range found {
		all = append(all, s.Name)
	}
	return all, err
}

// serviceMinimums are the beginnings of values of --min, as "web=".
func serviceMinimums(ctx context.Context, cli *clientv3.Client, prefix string, args []string) ([]string, error) {
	all, err := serviceNames(ctx, cli, prefix, args)
	for i := range all {
		all[i] += "="
	}
	return all, err
}

// instanceIDs are the IDs of the instances of the service that is named before.
func instanceIDs(ctx context.Context, cli *clientv3.Client, prefix string, args []string) (all []string, err error) {
	op, err := registry.NewOperator(cli, prefix)
	if err != nil {
		return nil, err
	}
	records, err := op.Records(ctx, args[0])
	for _, r := range records {
		all = append(all, r.ID)
	}
	return all, err
}

// contextNames are the names of the user's contexts.
func contextNames(context.Context, *cobra.Command, []string, string) ([]string, error) {
	store, err := place.OpenContexts()
	if err != nil {
		return nil, err
	}
	return store.Names()
}

// policies are what --on-change may say.
func policies(_ context.Context, cmd *cobra.Command, _ []string, _ string) ([]string, error) {
	return strings.Split(strings.Replace(cmd.Flags().Lookup("on-change").Value.Type(), "signal[=HUP]", "signal|signal=", 1), "|"), nil
}

// devMembers completes by the members of the running dev cluster, and by other words for them.
func (a *app) devMembers(others ...string) cobra.CompletionFunc {
	return a.found(func(ctx context.Context, cmd *cobra.Command, _ []string, _ string) ([]string, error) {
		all, err := devMemberNames(ctx, cmd)
		return append(all, others...), err
	})
}

// memberGroups completes the last member of a group, as etcd2 of etcd1,etcd2.
func (a *app) memberGroups(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.found(func(ctx context.Context, cmd *cobra.Command, _ []string, _ string) ([]string, error) {
		all, err := devMemberNames(ctx, cmd)
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		for i := range all {
			all[i] = before + all[i]
		}
		return all, err
	})(cmd, args, typed)
}

func devMemberNames(ctx context.Context, cmd *cobra.Command) (all []string, err error) {
	port, _ := cmd.Flags().GetInt("cluster") // all of these commands have it
	k, err := findDev(ctx, port)
	if err != nil {
		return nil, err
	}
	state, err := k.Status(ctx)
	for _, m := range state.Members {
		all = append(all, m.Name)
	}
	return all, err
}
