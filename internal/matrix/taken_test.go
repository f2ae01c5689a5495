package matrix_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func shared(t *testing.T, ttl time.Duration) at {
	t.Helper()
	other, prefix := etcdtest.New(t)
	return at{endpoints: other.Endpoints(), other: other, prefix: strings.TrimSuffix(prefix, "/"), ttl: ttl}
}

func TestAClosedClientEndsWhatUsesIt(t *testing.T) {
	t.Parallel()
	a := shared(t, 3*time.Second)
	own := open(t, &clientClosed, a)
	a.prefix += ".shared"
	all, _ := openShared(t, &clientClosed, a)
	left := []func(*testing.T){
		closeClients(t, "each has its own", own),
		closeClients(t, "client and Keeper shared", all),
	}
	for _, f := range left {
		t.Run("in etcd afterwards", f)
	}
}

// closeClients closes the clients of all handles. What is left then is another test: all wait for
// expiry together.
func closeClients(t *testing.T, name string, tb *table) (left func(*testing.T)) {
	keys := tb.keys(t)
	var since time.Time
	t.Run(name, func(t *testing.T) {
		tb.t = t
		since = time.Now()
		closeAndTell(tb, keys)
	})
	return func(t *testing.T) {
		tb.t = t
		tb.each(func(t *cell, w *watched) { w.keyLeft(t, keys[w], since) })
	}
}

func closeAndTell(tb *table, keys map[*watched]string) {
	closes := make(map[*clientv3.Client]func() error)
	for _, w := range tb.handles {
		if cli := w.place.cli; closes[cli] == nil {
			closes[cli] = sync.OnceValue(cli.Close)
		}
	}
	tb.each(func(t *cell, w *watched) {
		since := time.Now()
		if err := closes[w.place.cli](); err != nil {
			t.Fatalf("%v", err)
		}
		w.keyStays(t, keys[w])
		switch {
		case w.answers != nil:
			var last error
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := until(ctx, func() error {
				if last = w.answers(ctx); last == nil {
					return errors.New("requests are still answered")
				}
				return nil
			}); err != nil {
				t.Errorf("%v", err)
			}
			inTime(t, "told", time.Since(since), w.p.within)
			if refused := w.p.err.is(last) && (w.p.err != nil || status.Code(last) == codes.Unavailable); !refused || !strings.Contains(last.Error(), "client was closed") {
				t.Errorf("the error is %v, want one that is promised and says that the client was closed", last)
			}
		default:
			w.endsAfter(t, since)
			if !strings.Contains(w.err().Error(), "client was closed") {
				t.Errorf("the error is %q, want it to say that the client was closed", w.err())
			}
		}
		w.callAll(t, 5*time.Second, func(c call, took, _ time.Duration, err error) {
			if err == nil {
				t.Errorf("%s on a closed client: nil, want an error", c.name)
			}
			if c.name != "Txn" { // which is clientv3's own
				inTime(t, c.name+" on a closed client", took, 100*ms)
			}
			t.Logf("%s: %v", c.name, err)
		})
	})
}

func TestADeletedKeyIsReported(t *testing.T) {
	takeKeys(t, &keyDeleted, func(ctx context.Context, cli *clientv3.Client, key string) (time.Time, error) {
		since := time.Now()
		_, err := cli.Delete(ctx, key)
		return since, err
	})
}

func TestARevokedLeaseIsReported(t *testing.T) {
	takeKeys(t, &leaseRevoked, func(ctx context.Context, cli *clientv3.Client, key string) (since time.Time, err error) {
		resp, err := cli.Get(ctx, key)
		if err != nil {
			return since, err
		}
		id := clientv3.LeaseID(resp.Kvs[0].Lease)
		if id == 0 { // it is the test's own, which a handle shows
			l, err := cli.Grant(ctx, 60)
			if err != nil {
				return since, err
			}
			id = l.ID
			if _, err := cli.Put(ctx, key, string(resp.Kvs[0].Value), clientv3.WithLease(id)); err != nil {
				return since, err
			}
		}
		since = time.Now()
		_, err = cli.Revoke(ctx, id)
		return since, err
	})
}

// takeKeys takes the key of each handle away, once all are older than 1 s. take returns when it asked for that.
func takeKeys(t *testing.T, s *situation, take func(context.Context, *clientv3.Client, string) (time.Time, error)) {
	tb := open(t, s, shared(t, shortTTL))
	opened := time.Now()
	<-time.After(time.Until(opened.Add(1200 * ms))) // promised to those that are older than 1 s
	tb.each(func(t *cell, w *watched) {
		ctx := bounded(t)
		key, err := w.key(ctx)
		if err != nil {
			t.Fatalf("%v", err)
		}
		since, err := take(ctx, w.place.other, key)
		if err != nil {
			t.Fatalf("%v", err)
		}
		switch w.p.outcome {
		case ends:
			w.endsAfter(t, since)
		case shows:
			if err := w.gone(ctx); err != nil {
				t.Errorf("%v", err)
			}
			inTime(t, "shown", time.Since(since), w.p.within)
		case back:
			err := until(ctx, func() error { return there(ctx, w.place.other, key) })
			if err != nil {
				t.Errorf("%v", err)
			}
			inTime(t, "registered again", time.Since(since), w.p.within)
			if err := w.works(ctx); err != nil {
				t.Errorf("%v", err)
			}
		}
		w.keyLeft(t, key, time.Now())
	})
}
