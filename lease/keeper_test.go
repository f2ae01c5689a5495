package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

func TestCallersShareOneGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		everyone(b.delay, 100*time.Millisecond)
		k := b.keeper(nil)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if _, err := k.Lease(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := len(b.grantTries()); n != 1 {
			t.Errorf("100 callers made %d grants, want 1", n)
		}
	})
}

func TestALeaseCarriesNoMoreKeysThanItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		keys := map[*lease.Lease]int{}
		for range 20 {
			l, err := k.Reserve(t.Context(), 128)
			if err != nil {
				t.Fatal(err)
			}
			if keys[l] += 128; keys[l] > 1000 {
				t.Errorf("%d keys on a lease, want at most 1000", keys[l])
			}
		}
		if len(keys) != 3 { // 7 batches each
			t.Errorf("2,560 keys in batches of 128: %d leases, want 3", len(keys))
		}
		oldest := b.lease(k)
		oldest.Unreserve(128)
		if l, err := k.Reserve(t.Context(), 128); l != oldest || err != nil {
			t.Errorf("after a release: lease %p, %v, want the one that has room, %p", l, err, oldest)
		}
		for _, n := range []int{-1, 0, 1001} {
			if _, err := k.Reserve(t.Context(), n); !errors.Is(err, lease.ErrTooManyKeys) || !errors.Is(err, lease.ErrInvalid) {
				t.Errorf("Reserve %d: got %v, want ErrTooManyKeys", n, err)
			}
		}
		defer func() {
			if recover() == nil {
				t.Error("Release of more than was reserved: want a panic")
			}
		}()
		oldest.Unreserve(1001)
	})
}

func TestAGrantWithoutAnAnswerIsRepeatedWithItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		// The first one reaches a member, and its answer is lost.
		grant := b.fake.Grant
		b.fake.Grant = func(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error) {
			ttl, err := grant(ctx, route, id, ttl)
			if route == lease.Shared {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return ttl, err
		}
		l := b.lease(k)
		if len(b.grantTries()) != 2 || b.grantTries()[0].id != b.grantTries()[1].id || l.ID() != b.grantTries()[0].id {
			t.Fatalf("grants: %v and lease %x, want two with its id", b.grantTries(), l.ID())
		}
		// It says that the lease exists, so what counts is the first one's sending.
		if got, want := l.Remaining(), 8*time.Second-b.now(); got != want || b.now() == 0 {
			t.Errorf("%v remain at %v, want %v", got, b.now(), want)
		}
	})
}

func TestALeaseThatWasPerhapsGrantedIsRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		everyone(b.silent, true)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		if _, err := k.Lease(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, lease.ErrUnreachable) {
			t.Errorf("Lease before any try had failed: got %v, want DeadlineExceeded alone", err)
		}
		b.with(func() { clear(b.silent) })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(b.grantTries()) != 1 || len(b.revokedIDs()) != 1 || b.revokedIDs()[0] != b.grantTries()[0].id {
			t.Errorf("grants %v, revoked %x: want the one granted revoked", b.grantTries(), b.revokedIDs())
		}
	})
}

func TestALeaseThatWasLostIsRevokedWithTheNextGrant(t *testing.T) {
	for _, test := range []struct {
		name     string
		reserved int
	}{
		{"what its users need no more", 0},
		{"not with keys that are to be moved", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				k := b.keeper(nil)
				l := b.lease(k)
				if test.reserved > 0 {
					if _, err := k.Reserve(t.Context(), test.reserved); err != nil {
						t.Fatal(err)
					}
					l.Unreserve(test.reserved) // what was reserved may be there still
				}
				b.with(func() { everyone(b.silent, true) })
				<-l.Done()
				wantEnd(t, l, lease.ErrUnreachable)
				b.with(func() { clear(b.silent) })
				next := b.lease(k)
				synctest.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				if !b.exists[next.ID()] || b.exists[l.ID()] != (test.reserved > 0) {
					t.Errorf("etcd has %x; the lost lease is %x, with room for %d keys reserved, the next one %x",
						slices.Collect(maps.Keys(b.exists)), l.ID(), test.reserved, next.ID())
				}
			})
		})
	}
}

func TestALeaseWhoseGrantWasAnsweredLateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		// The first try is granted and answered after 6.1 s; the second says at 6 s that the
		// lease exists, by when too little is certain to be left of it, and it is given up.
		grant := b.fake.Grant
		b.fake.Grant = func(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error) {
			ttl, err := grant(ctx, route, id, ttl)
			answered := 5 * time.Second
			if route == lease.Shared {
				answered = 6100 * time.Millisecond
			}
			select {
			case <-time.After(answered):
				return ttl, err
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		l := b.lease(k)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if slices.Contains(b.revokedIDs(), l.ID()) || l.Err() != nil {
			t.Errorf("lease %x, %v; revoked %x: want it to live", l.ID(), l.Err(), b.revokedIDs())
		}
	})
}

func TestALeaseOfSomeoneElseIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		var theirs clientv3.LeaseID
		grant := b.fake.Grant
		b.fake.Grant = func(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error) {
			if theirs == 0 {
				theirs, b.exists[id] = id, true
			}
			return grant(ctx, route, id, ttl)
		}
		if l := b.lease(k); l.ID() == theirs {
			t.Error("the first try's id existed, and was taken over")
		}
		if err := k.Close(); err != nil || !b.exists[theirs] {
			t.Errorf("Close: %v; someone else's lease exists: %v, want true", err, b.exists[theirs])
		}
	})
}

func TestFailingGrantsAreReportedWithTheirCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		everyone(b.fails, error(rpctypes.ErrNoSpace))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := k.Lease(ctx)
		for is, want := range map[error]bool{
			context.DeadlineExceeded: true, rpctypes.ErrNoSpace: true, lease.ErrUnreachable: false, // it answered
		} {
			if errors.Is(err, is) != want {
				t.Errorf("Lease: got %v; that it is %v: %v, want %v", err, is, !want, want)
			}
		}
		if n := len(b.grantTries()); n < 20 || n > 400 {
			t.Errorf("%d grants in a minute, want pauses that grow to 5 s at most", n)
		}
		b.with(func() { clear(b.fails) })
		b.lease(k)
	})
}

func TestTheLogHasOneLineForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var log strings.Builder
		k := b.keeper(&lease.Options{TTL: 9 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b.with(func() { everyone(b.fails, error(rpctypes.ErrNoLeader)) })
		go func() { time.Sleep(time.Minute); b.with(func() { clear(b.fails) }) }()
		l := b.lease(k)
		b.with(func() { everyone(b.silent, true) })
		time.Sleep(7 * time.Second)
		b.with(func() { clear(b.silent) })
		time.Sleep(7 * time.Second)
		b.with(func() { everyone(b.silent, true) })
		<-l.Done()
		synctest.Wait()
		var got []string
		for line := range strings.Lines(log.String()) {
			_, msg, _ := strings.Cut(line, `msg="`)
			msg, _, _ = strings.Cut(msg, `"`)
			got = append(got, msg)
		}
		const late = "lease not confirmed, it is tried again"
		want := []string{"lease not granted yet", "lease granted", late, "lease confirmed again", late, "lease lost"}
		if !slices.Equal(got, want) {
			t.Errorf("log:\ngot  %q\nwant %q", got, want)
		}
	})
}

func TestAnOutageIsWarnedOfOnceHoweverManyAskForALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var log strings.Builder
		k := b.keeper(&lease.Options{TTL: 9 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for outage := 1; outage <= 2; outage++ {
			b.with(func() { everyone(b.silent, true) })
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if _, err := k.Lease(ctx); !errors.Is(err, lease.ErrUnreachable) {
					t.Errorf("Lease in an outage: %v, want ErrUnreachable", err)
				}
				cancel()
			}
			synctest.Wait()
			if n := strings.Count(log.String(), "lease not granted yet"); n != outage {
				t.Errorf("%d warnings in %d outages:\n%s", n, outage, &log)
			}
			b.with(func() { clear(b.silent) })
			b.lease(k)
			b.with(func() { b.gone = true })
			<-b.lease(k).Done()
			b.with(func() { b.gone = false })
		}
	})
}

func TestCloseRevokesWhatWasLostToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l := b.lease(k)
		b.with(func() { everyone(b.silent, true) })
		<-l.Done()
		b.with(func() { clear(b.silent) })
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if b.exists[l.ID()] {
			t.Error("a lease that was lost is left in etcd")
		}
	})
}

func TestCloseRevokesAndMayBeCalledTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l := b.lease(k)
		for range 2 {
			if err := k.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		wantEnd(t, l, lease.ErrClosed)
		if len(b.revokedIDs()) != 1 || b.revokedIDs()[0] != l.ID() {
			t.Errorf("revoked %x, want %x once", b.revokedIDs(), l.ID())
		}
		if _, err := k.Lease(t.Context()); !errors.Is(err, lease.ErrClosed) {
			t.Errorf("Lease of a closed Keeper: got %v, want ErrClosed", err)
		}
		if s := k.Stats(); s.Closed != 1 || len(s.Leases) != 0 {
			t.Errorf("Stats: %+v, want one lease closed and none left", s)
		}
	})
}

func TestCloseTakesTwoSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l := b.lease(k)
		everyone(b.silent, true)
		waiting := make(chan error)
		full, err := k.Reserve(t.Context(), 1000)
		if full != l || err != nil {
			t.Fatalf("Reserve: %p, %v, want %p", full, err, l)
		}
		go func() { _, err := k.Reserve(t.Context(), 1); waiting <- err }()
		time.Sleep(2 * time.Second)
		begun := b.now()
		closed := make(chan error)
		go func() { closed <- k.Close() }()
		if err := <-waiting; !errors.Is(err, lease.ErrClosed) {
			t.Errorf("Reserve while the Keeper closed: got %v, want ErrClosed", err)
		}
		if err := <-closed; err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%x", int64(l.ID()))) {
			t.Errorf("Close of a silent cluster: got %v, want an error that names the lease", err)
		}
		if took := b.now() - begun; took > 2*time.Second {
			t.Errorf("Close took %v, want 2 s at most", took)
		}
	})
}
