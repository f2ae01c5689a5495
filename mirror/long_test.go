//go:build long

package mirror_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// sleeperEvents pass while a consumer sleeps, at 1,000 a second.
const sleeperEvents = 60_000

// catchUpKeys are in one revision, and catchUpBacklog revisions are missed.
const (
	catchUpKeys    = 100_000
	catchUpBacklog = 50_000
	catchUpLeast   = 0
)

// Over a network of 150 KB/s a page of the usual size would take longer than any request may.
func TestASlowNetworkGetsItsFirstCopy(t *testing.T) {
	const rate, keys, size = 150_000, 3000, 1000
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	value := strings.Repeat("x", size)
	for n := 0; n < keys; n += 100 {
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("a/%05d", n+i), value))
		}
		if _, err := cli.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	m := open(t, quickClient(t, throttled(t, c.Endpoints()[0], rate)), "a/", &mirror.Options{WatchTimeout: 5 * time.Second})
	t.Logf("%d KB in %v", keys*size/1000, time.Since(began).Round(time.Millisecond))
	if got := m.Snapshot().Len(); got != keys {
		t.Errorf("%d keys, want %d", got, keys)
	}
}

// throttled is an address where target answers with so many bytes a second.
func throttled(t *testing.T, target string, rate int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener; what it started ends with the client
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			go func() {
				defer out.Close()
				_, _ = io.Copy(out, in)
			}()
			go func() {
				defer in.Close()
				const every = 10 * time.Millisecond
				tick := time.NewTicker(every)
				defer tick.Stop()
				for range tick.C {
					if _, err := io.CopyN(in, out, int64(rate)*int64(every)/int64(time.Second)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
