package locks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/etcdkit/etcdkit/bench/lab"
)

// peers are the systems that have servers of their own, which the first row that needs them
// starts, and which stay until the end of the run.
type peers struct{ redis, zookeeper peer }

// peer are three servers of one kind.
type peer struct {
	start func(ctx context.Context, n int) (*lab.Servers, error)
	warm  func(ctx context.Context, addrs []string) error // may be nil
	names atomic.Int64

	mu      sync.Mutex
	servers *lab.Servers
	err     error // it is not tried again
}

func newPeers() *peers {
	return &peers{redis: peer{start: lab.Redis}, zookeeper: peer{start: lab.ZooKeeper, warm: warmZooKeeper}}
}

// systems are those of all peers.
func (p *peers) systems() []system { return []system{&redlock{&p.redis}, &zookeeper{&p.zookeeper}} }

func (p *peers) close() error { return errors.Join(p.redis.close(), p.zookeeper.close()) }

// addrs starts the servers unless they are there.
func (p *peer) addrs(ctx context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers == nil && p.err == nil {
		p.servers, p.err = p.start(ctx, 3)
		if p.err == nil && p.warm != nil {
			p.err = p.warm(ctx, p.servers.Addrs)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.servers.Addrs, nil
}

// fresh is a name that has not been used before.
func (p *peer) fresh() string { return fmt.Sprint("bench-locks-", p.names.Add(1)) }

func (p *peer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.servers == nil {
		return nil
	}
	return p.servers.Close()
}
