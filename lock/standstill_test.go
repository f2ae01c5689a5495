package lock_test

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lock"
)

// The holder stands still for longer than its lease.
func TestAHolderThatStoodStillWritesNothing(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	w := startWorker(t, "lock", c.Endpoints())
	w.says(t, "held: ")
	w.signal(t, syscall.SIGSTOP)
	m := mutex(t, cli, "lock")
	h := acquire(t, m) // as its lease has ended
	w.signal(t, syscall.SIGCONT)
	began := time.Now()
	if _, err := io.WriteString(w.stdin, "commit\n"); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 2 { // in either order
		got[w.says(t, "")] = true
	}
	t.Logf("%v after it went on it knew", time.Since(began))
	if !got["done: true"] || !got["committed: false lost: true"] {
		t.Errorf("the worker says %v, want the hold lost and nothing committed", got)
	}
	if n := count(t, cli, "lock-written"); n != 0 {
		t.Error("what it committed was written")
	}
	release(t, h)
}

// Two processes that both believe that they hold the lock write all the time, with fenced writes. etcd
// takes only those of the newer one.
func TestNoWriteWithAnOlderTokenIsAcceptedThoughItsHolderStoodStill(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	for _, ttl := range ttls {
		for _, times := range pauses {
			pause := time.Duration(times * float64(ttl))
			t.Run(fmt.Sprintf("TTL %v, stopped for %v", ttl, pause), func(t *testing.T) {
				t.Parallel()
				name := fmt.Sprint("lock-", ttl, "-", times)
				w := startWorkerFor(t, name, ttl, c.Endpoints())
				w.says(t, "held: ")
				tell := func(line string) {
					if _, err := io.WriteString(w.stdin, line+"\n"); err != nil {
						t.Fatal(err)
					}
				}
				tell("write")
				w.says(t, "writes") // void if it did not
				w.signal(t, syscall.SIGSTOP)
				over := time.After(pause)
				h := acquire(t, withOptions(t, cli, name, lock.Options{TTL: ttl})) // as its lease has ended
				writes := 0
				write := func() {
					if fencedWrite(bounded(t), h, name+"-written") {
						writes++
					}
				}
				least := bounded(t)
				for going := true; going || writes < 10 && least.Err() == nil; write() {
					select {
					case <-over:
						going = false
					default:
					}
				}
				w.signal(t, syscall.SIGCONT)
				began := time.Now()
				var done time.Duration
				for got := map[string]bool{}; !got["refused"] || !got["done: true"]; write() {
					line := w.says(t, "")
					if got[line] = true; line == "done: true" {
						done = time.Since(began)
					}
				}
				t.Logf("it was told that its hold is over %v after SIGCONT", done)
				if writes < 10 {
					t.Errorf("void: the next holder wrote %d times", writes)
				}
				increasing(t, cli, name+"-written")
				release(t, h)
			})
		}
	}
}

// increasing reads the history of a key whose values are tokens.
func increasing(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	now, err := cli.Get(bounded(t), key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	var last int64
	for resp := range cli.Watch(ctx, key, clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			token, err := strconv.ParseInt(string(ev.Kv.Value), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if token < last {
				t.Errorf("at revision %d etcd took a write with token %d after one with %d", ev.Kv.ModRevision, token, last)
			}
			last = token
			if ev.Kv.ModRevision >= now.Kvs[0].ModRevision {
				return
			}
		}
	}
	t.Fatal("the history ends early")
}

// The holder dies, and in one case etcd's leader as well: the new leader starts the lease's time again.
func TestTheNextOneHasItWhenTheLeaseOfADeadHolderEnds(t *testing.T) {
	t.Parallel()
	for _, ttl := range ttls {
		for _, change := range []bool{false, true} {
			t.Run(fmt.Sprintf("TTL %v, etcd has another leader: %t", ttl, change), func(t *testing.T) {
				t.Parallel()
				c := etcdtest.NewCluster(t, nil)
				cli := etcdtest.Client(t, c)
				w := startWorkerFor(t, "lock", ttl, c.Endpoints())
				w.says(t, "held: ")
				waits := queued(t, cli, "lock", 2, func(ctx context.Context) (*lock.Hold, error) {
					return withOptions(t, cli, "lock", lock.Options{TTL: 10 * time.Second}).Acquire(ctx)
				})
				w.signal(t, syscall.SIGKILL)
				began, most := time.Now(), ttl+1500*time.Millisecond
				if change {
					most = 2*ttl + 3*time.Second
					<-time.After(ttl / 2) // the worse for it the later; but before the lease ends
					before := c.Leader()
					if _, err := c.Kill(t.Context(), before); err != nil {
						t.Fatal(err)
					}
					if c.Leader() == before {
						t.Fatal("void: the leader is the same")
					}
				}
				h := waits.gets(t)
				took := time.Since(began)
				t.Logf("held %v after it died", took)
				if took > most && !means.Race {
					t.Errorf("held after %v, want %v at the most", took, most)
				}
				release(t, h)
			})
		}
	}
}

// A waiter stands still for longer than its lease.
func TestAWaiterThatStoodStillDoesNotGetIt(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	h := acquire(t, mutex(t, cli, "lock"))
	w := startWorker(t, "lock", c.Endpoints())
	w.says(t, "waits")
	w.signal(t, syscall.SIGSTOP)
	for ctx := bounded(t); count(t, cli, "lock/") != 1; { // its lease has ended
		if ctx.Err() != nil {
			t.Fatal("the waiter's entry stays")
		}
	}
	w.signal(t, syscall.SIGCONT)
	w.says(t, "lost: true")
	if err := h.Err(); err != nil {
		t.Errorf("the holder, who ran all the time: %v", err)
	}
	release(t, h)
}
