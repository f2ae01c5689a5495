package cli

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/registry"
)

func newSvcRegister(a *app) *cobra.Command {
	o := new(registering)
	cmd := &cobra.Command{
		Use: "register NAME --port PORT [flags] [-- CMD [ARG…]]", Short: "keep an instance of a service, while a command runs",
		Long: paragraphs(
			"Runs CMD and keeps an instance of the service registered while it lives. Without CMD it keeps it until it is interrupted. CMD gets stdin and all signals, and in its environment ETCDKIT_SERVICE, ETCDKIT_ID and ETCDKIT_ADDR.",
			"SIGTERM and SIGINT: the instance says draining, so that consumers send nothing new; after --drain the signal is passed to CMD; when CMD has ended, or is killed after --kill-grace, the instance is gone. A second one kills CMD at once. When CMD ends by itself, also by kill -9, the instance is gone at once, not after its TTL. The exit code is CMD's own, or 128 + the signal that ended it.",
			"While etcd is away CMD goes on, and the instance comes back by itself; also at the start, where CMD runs before etcd is there. When etcdkit itself is killed with -9, CMD lives on and the instance ends with its lease (--ttl). Exit code 125: etcdkit could not do its part; CMD was ended, or not started. 126 and 127: CMD cannot be executed.",
			"With checks the instance shows what they find; an instance that is critical gets no requests. With --await it appears when it can serve: when no check is critical, or, without checks, when its port accepts a connection."),
		Example: "  etcdkit svc register web --port 8080 --check-http /healthz --await -- ./server\n" +
			"  etcdkit svc register db --addr 10.0.0.5:5432 --tag rw -- \"$@\"\n" +
			"  etcdkit svc register legacy --addr 10.0.0.9:80 --check-tcp",
		Args:        o.args,
		Annotations: wrapper(),
	}
	o.flags(cmd)
	f := clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.svcRegister(cmd.Context(), f, o) }
	return cmd
}

// registering is what svc register was asked for.
type registering struct {
	service string
	command []string // empty: none

	prefix, addr, id, zone, version string
	port, weight                    int
	tags, meta                      []string
	checkHTTP, checkCommand         []string
	checkTCP, checkGRPC             string
	interval                        time.Duration
	await                           bool
	ttl, drain, killGrace           time.Duration
}

// thisAddress is the value of a check's flag that was given without one.
const thisAddress = "self"

func (o *registering) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", "", "`HOST:PORT` as consumers dial it; without HOST, this machine's address")
	f.IntVar(&o.port, "port", 0, "`PORT` on this machine's address in its network")
	f.StringVar(&o.id, "id", "", "`ID` of the instance within the service (default HOST-PORT)")
	f.StringArrayVar(&o.tags, "tag", nil, "a `TAG`; may be repeated")
	f.StringArrayVar(&o.meta, "meta", nil, "`KEY=VALUE` for consumers; may be repeated")
	f.IntVar(&o.weight, "weight", 1, "share of requests relative to other instances")
	f.StringVar(&o.zone, "zone", "", "`ZONE` in which it runs: consumers prefer their own")
	f.StringVar(&o.version, "version", "", "`VERSION` of the program")
	f.StringArrayVar(&o.checkHTTP, "check-http", nil, "`PATH` or URL that must answer 2xx; may be repeated")
	f.StringVar(&o.checkTCP, "check-tcp", "", "`ADDR` must accept a connection; by itself, the instance's")
	f.StringVar(&o.checkGRPC, "check-grpc", "", "gRPC's health check of `SERVICE`; by itself, of the server")
	f.Lookup("check-tcp").NoOptDefVal, f.Lookup("check-grpc").NoOptDefVal = thisAddress, thisAddress
	f.StringArrayVar(&o.checkCommand, "check-cmd", nil, "shell `COMMAND`: 0 passes, 1 warns, else it is critical; may be repeated; consumers see it as cmd, cmd-2, …")
	f.DurationVar(&o.interval, "check-interval", 5*time.Second, "between two runs of a check")
	f.BoolVar(&o.await, "await", false, "register when it can serve, not before")
	f.DurationVar(&o.ttl, "ttl", 10*time.Second, "how long the instance outlives etcdkit's kill -9; 2s at least, whole seconds")
	f.DurationVar(&o.drain, "drain", time.Second, "how long it says draining before CMD gets SIGTERM")
	f.DurationVar(&o.killGrace, "kill-grace", 10*time.Second, "between SIGTERM and SIGKILL")
	prefixFlag(cmd, &o.prefix)
}

// args splits the command line at "--".
func (o *registering) args(cmd *cobra.Command, args []string) error {
	own, command, err := splitCommand(cmd, args)
	switch {
	case err != nil:
		return err
	case len(own) == 0:
		return usagef("which service? as in: etcdkit svc register web --port 8080 -- ./server")
	case len(own) > 1:
		return usagef("unexpected argument %q: CMD stands behind --, as in: etcdkit svc register %s --port 8080 -- %s", own[1], own[0], strings.Join(own[1:], " "))
	}
	o.service, o.command = own[0], command
	return nil
}

// instance is the one that is registered. Nothing was sent or started when its error is returned.
func (o *registering) instance() (registry.Instance, error) {
	i := registry.Instance{Service: o.service, ID: o.id, Zone: o.zone, Version: o.version, Weight: o.weight, Tags: o.tags}
	switch {
	case o.addr == "" && o.port == 0:
		return i, usagef("where do consumers reach it? --port PORT on this machine, or --addr HOST:PORT")
	case o.addr != "" && o.port != 0:
		return i, usagef("--addr and --port exclude one another")
	case o.port < 0 || o.port > 65535:
		return i, usagef("--port %d: want 1 to 65535", o.port)
	case o.interval <= 0:
		return i, usagef("--check-interval %v: want 10ms or more", o.interval)
	case o.weight < 1:
		return i, usagef("--weight %d: want 1 or more; 'svc drain' takes an instance out", o.weight)
	}
	listen := o.addr
	if listen == "" {
		listen = fmt.Sprintf(":%d", o.port)
	}
	var err error
	if i.Addr, err = registry.Advertise(listen); err != nil {
		return i, &usageError{err}
	}
	if i.ID == "" {
		i.ID = defaultID(i.Addr)
	}
	for _, pair := range o.meta {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return i, usagef("--meta %q: want KEY=VALUE", pair)
		}
		if i.Metadata == nil {
			i.Metadata = make(map[string]string)
		}
		i.Metadata[key] = value
	}
	if err := i.Validate(); err != nil {
		return i, &usageError{err}
	}
	return i, nil
}

// defaultID is the ID that package registry would choose.
func defaultID(addr string) string {
	host := hostName()
	if _, port, err := net.SplitHostPort(addr); err == nil {
		return host + "-" + port
	}
	return host
}

// checks are those that the flags ask for.
func (o *registering) checks() (all []health.Check, err error) {
	for _, address := range o.checkHTTP {
		all = append(all, health.HTTP(address))
	}
	target := func(text string) string {
		if text == thisAddress {
			return ""
		}
		return text
	}
	if o.checkTCP != "" {
		all = append(all, health.TCP(target(o.checkTCP)))
	}
	if o.checkGRPC != "" {
		all = append(all, health.GRPC(target(o.checkGRPC)))
	}
	for n, text := range o.checkCommand {
		c := health.Command("sh", "-c", text)
		c.Name = "cmd" // not the text, which may be secret: every consumer sees the name
		if n > 0 {
			c.Name = fmt.Sprintf("cmd-%d", n+1)
		}
		all = append(all, c)
	}
	for n := range all {
		all[n].Interval = o.interval
	}
	if err := health.Validate(all...); err != nil {
		return nil, &usageError{err}
	}
	return all, nil
}

func (a *app) svcRegister(ctx context.Context, f *place.Flags, o *registering) error {
	instance, err := o.instance()
	if err != nil {
		return err
	}
	checks, err := o.checks()
	if err != nil {
		return err
	}
	if err := checkTTL("ttl", o.ttl); err != nil {
		return err
	}
	if o.drain < 0 || o.killGrace < 0 {
		return usagef("want no negative --drain or --kill-grace")
	}
	if _, err := registry.ServicePrefix(o.prefix, o.service); err != nil {
		return &usageError{err}
	}
	signals, stop := child.Forwarded() // from now on none is missed
	defer stop()
	w := &serviceRun{
		app: a, flags: f, instance: instance, signals: signals, killGrace: o.killGrace, awaitPort: o.await && len(checks) == 0,
		opts: registry.Options{
			Prefix: o.prefix, TTL: o.ttl, Checks: checks, AwaitServing: o.await && len(checks) > 0, LeaveNotice: cmp.Or(o.drain, -1), Logger: a.logger(),
		},
	}
	if len(o.command) > 0 {
		if w.cmd, err = child.Command(o.command); err != nil {
			return a.cannotRun(err)
		}
		w.prepare(w.cmd)
	}
	return w.run(ctx)
}

// prepare gives the command its streams and its environment.
func (w *serviceRun) prepare(cmd *exec.Cmd) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = w.app.stdin, w.app.out.Stdout(), w.app.out.Stderr()
	cmd.Env = append(os.Environ(), "ETCDKIT_SERVICE="+w.instance.Service, "ETCDKIT_ID="+w.instance.ID, "ETCDKIT_ADDR="+w.instance.Addr)
}
