package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func newTour() *cobra.Command {
	var output string
	var shop bool
	cmd := &cobra.Command{
		Use:     "tour",
		Short:   "a three-member cluster and the six examples on it, checked",
		GroupID: groupMain,
		Long: `Checks a cluster the way an operator does, runs the six examples against it one after
another, and checks what each of them did. It uses the cluster that ETCDKIT_ENDPOINTS or
ETCDCTL_ENDPOINTS names, and otherwise starts one of its own with three members, on free ports
if the usual ones are taken. Takes about 20 s, most of it waiting for leases to end. The exit
code is 1 if any expectation failed.

With --shop there is a seventh part, of some 15 s: three services under load, whose instances
are killed, with a member of etcd.

The examples are Go programs, and the tour compiles them: it needs the Go toolchain, and to be run
in a checkout of etcdkit, or in a module that requires it, or to be a released version.`,
		Args: usageArgs(needs("", 0, 0)),
		RunE: func(cmd *cobra.Command, _ []string) error { return runTour(cmd, output, shop) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json (one object, when it is over; its progress goes to stderr)")
	cmd.Flags().BoolVar(&shop, "shop", false, "the seventh part, too: examples/shop, with instances and a member killed")
	return cmd
}

// tour is one run.
type tour struct {
	*place
	ui       *ui
	shop     bool
	env      []string // of the programs that it runs
	examples map[string]string

	Cluster string  `json:"cluster"`
	Steps   []*step `json:"steps"`
	OK      bool    `json:"ok"`
	Took    seconds `json:"took_s"`
}

// seconds are rounded for reading.
type seconds float64

func since(begin time.Time) seconds {
	return seconds(float64(time.Since(begin).Milliseconds()) / 1000)
}

func runTour(cmd *cobra.Command, output string, shop bool) (err error) {
	if err := checkOutput(output, "text", "json"); err != nil {
		return err
	}
	defer endOnSecondSignal()()
	begin := time.Now()
	ctx := cmd.Context()
	t := &tour{ui: newUI(cmd.OutOrStdout(), cmd.ErrOrStderr(), output == "json"), shop: shop}
	t.ui.live = !t.ui.silent && canRewrite(cmd.OutOrStdout())

	names, parts := exampleNames, walks()
	if shop {
		names, parts = append(slices.Clone(names), "shop"), append(parts, shopWalk())
	}
	source, err := examplesSource(ctx)
	if err != nil {
		return err
	}
	bin, err := os.MkdirTemp("", "etcdkit-tour-")
	if err != nil {
		return fmt.Errorf("directory for the examples: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	built := make(chan error, 1)
	buildCtx, stopBuild := context.WithCancel(ctx)
	go func() { // ends with the build, which ends with buildCtx
		var err error
		t.examples, err = buildExamples(buildCtx, source, names, bin)
		built <- err
	}()
	waited := false
	defer func() {
		stopBuild()
		if !waited {
			<-built
		}
	}()

	closeCluster, err := t.connect(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, closeCluster()) }()
	t.ui.heading(t.Cluster)

	// The checks need no example, so the compiler has their time.
	t.run(ctx, checks()...)
	done := t.ui.waiting("compiling the examples")
	err = <-built
	waited = true
	done()
	if err != nil {
		return interrupted(ctx, err)
	}
	t.run(ctx, parts...)
	if ctx.Err() != nil {
		return exitError(exitInterrupted)
	}
	return t.finish(begin, output == "json")
}

func (t *tour) run(ctx context.Context, steps ...*step) {
	for _, s := range steps {
		if ctx.Err() != nil {
			return
		}
		t.ui.begin(s)
		begin := time.Now()
		err := s.walk(ctx, t, s)
		if err != nil && ctx.Err() == nil {
			s.check(false, "%v", err)
		}
		s.Took = since(begin)
		t.ui.end(s)
		t.Steps = append(t.Steps, s)
	}
}

func (t *tour) finish(begin time.Time, asJSON bool) error {
	checks, failed := 0, 0
	for _, s := range t.Steps {
		for _, c := range s.Checks {
			checks++
			if !c.OK {
				failed++
			}
		}
	}
	t.OK, t.Took = failed == 0, since(begin)
	if asJSON {
		if err := json.NewEncoder(t.ui.out).Encode(t); err != nil {
			return err
		}
	} else {
		t.ui.summary(checks, failed, t.Took)
	}
	if failed > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// connect finds the cluster. The function it returns ends what it began.
func (t *tour) connect(ctx context.Context) (end func() error, err error) {
	if t.place, err = findPlace(ctx); err != nil {
		return nil, err
	}
	if t.own == nil {
		if err := t.untouched(ctx); err != nil {
			return nil, errors.Join(err, t.leave())
		}
	}
	t.env, t.Cluster = withoutEtcdctl(environment(os.Environ(), t.endpoints)), t.describe()
	return func() error { return errors.Join(t.tidy(ctx), t.leave()) }, nil
}

// exampleKeys are the keys that the examples write. On a user's cluster they must not be
// the user's.
var exampleKeys = []string{"sample_keys", "fooForLease", serviceKey}

func (t *tour) untouched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	looks := []clientv3.Op{
		clientv3.OpGet(exampleKeys[0], clientv3.WithKeysOnly()),
		clientv3.OpGet(exampleKeys[1], clientv3.WithKeysOnly()),
		clientv3.OpGet("/web/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)), // sd lists all of it
	}
	for _, service := range shopServices {
		if !t.shop {
			break
		}
		looks = append(looks, clientv3.OpGet("/services/"+service+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)))
	}
	for _, look := range looks {
		resp, err := t.cli.Do(ctx, look)
		if err != nil {
			return fmt.Errorf("look whether %q is free: %w", look.KeyBytes(), err)
		}
		if kvs := resp.Get().Kvs; len(kvs) > 0 {
			return fmt.Errorf("this cluster has a key %q, where the tour's examples write; end who keeps it, or delete it (etcdkit ctl del %[1]s), or unset ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS to tour a cluster of its own", kvs[0].Key)
		}
	}
	return nil
}

// tidy removes what the examples left, also after an interrupt.
func (t *tour) tidy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	for _, k := range exampleKeys {
		if _, err := t.cli.Delete(ctx, k); err != nil {
			return fmt.Errorf("delete %q: %w", k, err)
		}
	}
	return nil
}
