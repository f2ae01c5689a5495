package locks

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-zookeeper/zk"
)

// zookeeper is go-zookeeper's Lock, the recipe of ZooKeeper's documentation. The counter is a node.
type zookeeper struct{ peer *peer }

func (*zookeeper) name() string { return "go-zookeeper Lock" }

func (z *zookeeper) open(ctx context.Context, n int) (*team, error) {
	addrs, err := z.peer.addrs(ctx)
	if err != nil {
		return nil, err
	}
	path := "/" + z.peer.fresh()
	return assemble(n, func(t *team) (contender, error) {
		c, err := joinZooKeeper(ctx, addrs, path)
		if err != nil {
			return nil, err
		}
		t.atEnd(func() error { c.conn.Close(); return nil })
		t.value = c.value
		return c, nil
	})
}

// joinZooKeeper connects, and makes the counter's node unless it is there.
func joinZooKeeper(ctx context.Context, addrs []string, path string) (*zkLocker, error) {
	conn, _, err := zk.Connect(addrs, 10*time.Second, zk.WithLogger(quiet{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	z := &zkLocker{conn, zk.NewLock(conn, path, zk.WorldACL(zk.PermAll)), counter(path)}
	err = z.bounded(ctx, func() error {
		_, err := conn.Create(z.counter, []byte("0"), 0, zk.WorldACL(zk.PermAll))
		return err
	})
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		conn.Close()
		return nil, err
	}
	return z, nil
}

// warmZooKeeper has Java compile what will be measured: its first operations take ten times as long.
func warmZooKeeper(ctx context.Context, addrs []string) error {
	const operations = 500
	z, err := joinZooKeeper(ctx, addrs, "/bench-locks-warm")
	if err != nil {
		return err
	}
	defer z.conn.Close()
	for i := range operations {
		if err := turn(ctx, z, &history{}, 0, 1-2*(i%2)); err != nil {
			return err
		}
	}
	return nil
}

// quiet is a logger.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

type zkLocker struct {
	conn    *zk.Conn
	lock    *zk.Lock
	counter string
}

// bounded has ctx end a call, which knows none: the connection is closed.
func (z *zkLocker) bounded(ctx context.Context, call func() error) error {
	defer context.AfterFunc(ctx, z.conn.Close)()
	err := call()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (z *zkLocker) take(ctx context.Context) error  { return z.bounded(ctx, z.lock.Lock) }
func (z *zkLocker) leave(ctx context.Context) error { return z.bounded(ctx, z.lock.Unlock) }

// value may be read from a node that lags behind, but not behind what this client has seen: the
// end of the hold before its own.
func (z *zkLocker) value(ctx context.Context) (n int, err error) {
	err = z.bounded(ctx, func() error {
		data, _, err := z.conn.Get(z.counter)
		if err != nil {
			return err
		}
		n, err = strconv.Atoi(string(data))
		return err
	})
	return n, err
}

func (z *zkLocker) add(ctx context.Context, delta int) error {
	n, err := z.value(ctx)
	if err != nil {
		return err
	}
	return z.bounded(ctx, func() error {
		_, err := z.conn.Set(z.counter, []byte(strconv.Itoa(n+delta)), -1)
		return err
	})
}
