package locks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
)

// root is what all keys of this job begin with.
const root = "bench-locks/"

// system is a way for clients to take turns at one counter.
type system interface {
	name() string
	// open gives n clients of a lock and a counter that has not been used before.
	open(ctx context.Context, n int) (*team, error)
}

// contender takes turns. One goroutine uses it.
type contender interface {
	take(ctx context.Context) error           // the lock
	add(ctx context.Context, delta int) error // to the counter, or has leave do so
	leave(ctx context.Context) error          // to the next one
}

// team are the clients that contend for one lock.
type team struct {
	members []contender
	value   func(context.Context) (int, error) // of the counter
	ends    []func() error
}

func (t *team) atEnd(f func() error) { t.ends = append(t.ends, f) }

// close ends the last first.
func (t *team) close() error {
	var errs []error
	for _, end := range slices.Backward(t.ends) {
		errs = append(errs, end())
	}
	t.ends = nil
	return errors.Join(errs...)
}

// assemble has n contenders join a team, or closes what was opened.
func assemble(n int, join func(t *team) (contender, error)) (*team, error) {
	t := &team{}
	for i := range n {
		c, err := join(t)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open client %d of %d: %w", i+1, n, err), t.close())
		}
		t.members = append(t.members, c)
	}
	return t, nil
}

// site is where etcd's clients connect to: all members, as a user's would.
type site struct {
	endpoints []string
	options   []grpc.DialOption
	names     *atomic.Int64
}

func newSite(endpoints []string) *site { return &site{endpoints: endpoints, names: new(atomic.Int64)} }

// with is the same site, for clients with more options.
func (s *site) with(options ...grpc.DialOption) *site {
	return &site{endpoints: s.endpoints, options: options, names: s.names}
}

// dial makes a client of the kind that all libraries and the floor use.
func (s *site) dial(ctx context.Context) (*clientv3.Client, error) {
	return client.Dial(ctx, &client.Options{Endpoints: s.endpoints, DialOptions: s.options})
}

// join is dial for a member of a team.
func (s *site) join(ctx context.Context, t *team) (*clientv3.Client, error) {
	cli, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	t.atEnd(cli.Close)
	return cli, nil
}

// fresh is a name that has not been used before.
func (s *site) fresh() string { return fmt.Sprintf("%s%d", root, s.names.Add(1)) }

// counter is the key of a lock's counter.
func counter(lock string) string { return lock + "-counter" }

// count parses what a counter's key has.
func count(resp *clientv3.GetResponse) (int, error) {
	if len(resp.Kvs) == 0 {
		return 0, nil // nothing counted yet
	}
	return strconv.Atoi(string(resp.Kvs[0].Value))
}

func put(key string, n int) clientv3.Op { return clientv3.OpPut(key, strconv.Itoa(n)) }

// value reads the counter through any of the team's clients.
func value(cli *clientv3.Client, key string) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		resp, err := cli.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		return count(resp)
	}
}
