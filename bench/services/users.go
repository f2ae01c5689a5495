package services

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/registry"
)

const (
	password  = "secret"
	byRoot    = 2 // the bound of a role's user, × root
	userTurns = 3
)

// users measures what authentication costs a user other than root: etcd checks the user's rights to
// every key of a lease at each Put that names it.
func (j *job) users(ctx context.Context) (*report.Group, error) {
	g := &report.Group{
		Name:    "users",
		Title:   "With authentication on: registrations of root and of a user that may write below the prefix",
		Columns: []string{"n", "register all", "× root", "change all", "× root"},
	}
	sizes := []int{1, 100, 1000, 10_000}
	if j.Quick {
		sizes = []int{1, 200}
	}
	c, err := cluster.Start(ctx, &cluster.Options{AnyPort: true, Direct: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := enableAuth(ctx, c); err != nil {
		return nil, err
	}
	names := []string{"root", "user"}
	for _, n := range sizes {
		var registering, changing [2]report.Sample
		for turn := range userTurns {
			for i, name := range names {
				j.Progress.Step(fmt.Sprintf("users, %d", n), name, turn+1, userTurns)
				registered, changed, err := crowdOf(ctx, c.Endpoints(), name, n)
				if err != nil {
					return nil, fmt.Errorf("%d registrations of %s: %w", n, name, err)
				}
				registering[i].Add(registered)
				changing[i].Add(changed)
			}
		}
		for i, name := range names {
			r, ch := registering[i].Median(), changing[i].Median()
			slower, slowerChange := report.RatioOf(r, registering[0].Median()), report.RatioOf(ch, changing[0].Median())
			if i > 0 {
				slower, slowerChange = slower.AtMost(byRoot), slowerChange.AtMost(byRoot)
			}
			g.Add(name, report.Count(float64(n)), report.Seconds(r), slower, report.Seconds(ch), slowerChange)
		}
	}
	g.Note(fmt.Sprintf("etcdkit's Registrar.Register(all...), and then an Update of each at once; three members with authentication on. Both take turns; the median of %d counts.", userTurns))
	return g, nil
}

func enableAuth(ctx context.Context, c *cluster.Cluster) error {
	cli, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer cli.Close()
	for _, step := range []func() error{
		func() error { _, err := cli.UserAdd(ctx, "root", password); return err },
		func() error { _, err := cli.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := cli.UserAdd(ctx, "user", password); return err },
		func() error { _, err := cli.RoleAdd(ctx, "user"); return err },
		func() error { _, err := cli.UserGrantRole(ctx, "user", "user"); return err },
		func() error {
			_, err := cli.RoleGrantPermission(ctx, "user", root, clientv3.GetPrefixRangeEnd(root), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := cli.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("turn authentication on: %w", err)
		}
	}
	return nil
}

// crowdOf registers instances as a user, and changes all of them.
func crowdOf(ctx context.Context, addrs []string, user string, n int) (registered, changed time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	cli, err := clientv3.New(clientv3.Config{Endpoints: addrs, Username: user, Password: password, Logger: zap.NewNop()})
	if err != nil {
		return 0, 0, err
	}
	defer cli.Close()
	if _, err := cli.Get(ctx, root+"connect"); err != nil {
		return 0, 0, err
	}
	instances := make([]registry.Instance, n)
	for i := range n {
		instances[i] = instance(batchService, address(i), address(i))
	}
	begin := time.Now()
	r, err := registry.New(cli, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	regs, err := r.Register(ctx, instances...)
	if err != nil {
		return 0, 0, err
	}
	registered = time.Since(begin)
	errs := make([]error, n)
	var changing sync.WaitGroup
	begin = time.Now()
	for i, reg := range regs {
		changing.Go(func() { errs[i] = reg.Update(ctx, func(i *registry.Instance) { i.Weight = 7 }) })
	}
	changing.Wait()
	return registered, time.Since(begin), errors.Join(errs...)
}
