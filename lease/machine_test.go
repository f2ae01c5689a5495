package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/lease"
)

func TestTheDeadlineIsCountedFromSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		everyone(b.delay, 500*time.Millisecond)
		l := b.lease(b.keeper(nil))
		// Granted at 0.5 s; asked for at 0.
		if got, want := l.Remaining(), 7500*time.Millisecond; got != want {
			t.Errorf("after a grant that took 0.5 s: %v remain, want %v", got, want)
		}
		// The keepalive is sent at 3 s, a third of the TTL after the grant was.
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(b.keepAlives()) != 1 || b.keepAlives()[0].at != 3*time.Second {
			t.Fatalf("keepalives: got %v, want one at 3s", b.keepAlives())
		}
		if got, want := l.Remaining(), 8*time.Second-500*time.Millisecond; got != want {
			t.Errorf("after a keepalive that took 0.5 s: %v remain, want %v", got, want)
		}
		if got, want := time.Until(l.Deadline()), l.Remaining(); got != want {
			t.Errorf("Deadline: in %v, want in %v", got, want)
		}
	})
}

func TestTheGrantedTTLCountsAndNotTheWantedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.ttl = 30
		l := b.lease(b.keeper(&lease.Options{TTL: time.Nanosecond}))
		if got, want := l.Remaining(), 29*time.Second; got != want {
			t.Errorf("Remaining: got %v, want %v", got, want)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(b.keepAlives()) != 1 || b.keepAlives()[0].at != 10*time.Second {
			t.Errorf("keepalives: got %v, want one at 10s", b.keepAlives())
		}
	})
}

func TestAnotherMemberIsAskedWithinAThirdOfTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l := b.lease(k)
		// The client's connection is to a, which falls silent, however it is reached.
		b.with(func() { b.silent[lease.Shared], b.silent["a:1"] = true, true })
		time.Sleep(6 * time.Second)
		synctest.Wait()
		var other time.Duration
		for _, a := range b.keepAlives() {
			if other == 0 && a.route != lease.Shared && a.route != "a:1" {
				other = a.at
			}
		}
		if other < 3*time.Second || other > 6*time.Second {
			t.Errorf("keepalives %v: another member was asked at %v, want within 3 s of the silent one at 3s", b.keepAlives(), other)
		}
		for range 10 { // and the lease lives
			time.Sleep(3 * time.Second)
			if l.Err() != nil || l.Remaining() < 4*time.Second {
				t.Fatalf("one member silent: %v, %v remain, want more than 4 s", l.Err(), l.Remaining())
			}
		}
		s := k.Stats()
		if s.Retries == 0 || s.Unreachable != 0 || len(s.Leases) != 1 {
			t.Errorf("Stats: %+v, want retries, no loss and a lease", s)
		}

		// When the client's connection answers again, the others are closed.
		b.with(func() { clear(b.silent) })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for route, open := range b.streams {
			if want := map[bool]int{true: 1}[route == lease.Shared]; open != want {
				t.Errorf("streams on route %q after the bad time: %d, want %d", route, open, want)
			}
		}
		if late := k.Stats().Leases[0].LastErr; late != nil {
			t.Errorf("Late after the bad time: %v, want nil", late)
		}
	})
}

func TestAMemberThatFailsAtOnceIsReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		b.with(func() { b.fails[lease.Shared] = rpctypes.ErrNoLeader })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got, want := l.Remaining(), 8*time.Second; got != want {
			t.Errorf("after a member said that it has no leader: %v remain, want %v", got, want)
		}
	})
}

func TestASlowAnswerIsNotThrownAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		b.with(func() { everyone(b.delay, 3*time.Second) }) // three times the patience
		for range 20 {
			time.Sleep(3 * time.Second)
			if l.Err() != nil {
				t.Fatalf("with answers after 3 s: %v, want the lease to live", l.Err())
			}
		}
	})
}

func TestWithoutAnAnswerItEndsAtTheDeadlineAsUnreachable(t *testing.T) {
	for name, fault := range map[string]func(b *bench){
		"silence":  func(b *bench) { everyone(b.silent, true) },
		"failures": func(b *bench) { everyone(b.fails, error(rpctypes.ErrNoLeader)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				k := b.keeper(nil)
				l := b.lease(k)
				b.with(func() { fault(b) })
				<-l.Done()
				if got, want := b.now(), 8*time.Second; got != want {
					t.Errorf("Done after %v, want %v", got, want)
				}
				wantEnd(t, l, lease.ErrUnreachable, "a:1, b:1, c:1")
				if name == "failures" && !errors.Is(l.Err(), rpctypes.ErrNoLeader) {
					t.Errorf("Err: got %v, want the last cause in it", l.Err())
				}
				if n := len(b.keepAlives()); n > 200 {
					t.Errorf("%d keepalives in 5 s: that is spinning", n)
				}
				if s := k.Stats(); s.Unreachable != 1 || len(s.Leases) != 0 {
					t.Errorf("Stats: %+v, want one lease lost as unreachable and none left", s)
				}
			})
		})
	}
}

func TestALeaseThatIsGoneBeforeItsDeadlineWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l := b.lease(k)
		b.with(func() { b.gone = true })
		<-l.Done()
		if got, want := b.now(), 3*time.Second; got != want {
			t.Errorf("Done after %v, want %v, with the keepalive's answer", got, want)
		}
		wantEnd(t, l, lease.ErrRevoked)

		b.with(func() { b.gone = false })
		next := b.lease(k)
		if next == l || next.ID() == l.ID() || next.Err() != nil || k.Stats().Granted != 2 {
			t.Errorf("after the loss: lease %x, %v, want another that lives", next.ID(), next.Err())
		}
		wantEnd(t, l, lease.ErrRevoked) // still
	})
}

func TestTheDeadlinePassesWhileTheMachineIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		k := b.keeper(nil)
		l, other := b.lease(k), b.lease(b.keeper(nil))
		time.Sleep(time.Millisecond)
		b.with(func() { b.slept = time.Hour }) // and Go's timers know nothing of it
		wantEnd(t, l, lease.ErrExpired)
		if next := b.lease(k); next == l {
			t.Error("Lease after the suspension returned the one from before")
		}
		woke := b.now()
		<-other.Done()
		if took := b.now() - woke; took > time.Second {
			t.Errorf("Done %v after waking up, want within a second", took)
		}
		wantEnd(t, other, lease.ErrExpired)
	})
}

func TestAnAnswerAfterTheDeadlineDoesNotResurrect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		b.with(func() { everyone(b.delay, 1500*time.Millisecond) })
		time.Sleep(4200 * time.Millisecond) // a keepalive is on its way
		b.with(func() { b.slept = 6 * time.Second })
		time.Sleep(500 * time.Millisecond) // and answered, before a timer goes off
		synctest.Wait()
		if l.Err() == nil {
			t.Error("the lease lives past its deadline")
		}
	})
}

func TestADeniedUserEndsItWithoutSpinning(t *testing.T) {
	for err, tries := range map[error]int{
		rpctypes.ErrPermissionDenied: 1,
		rpctypes.ErrAuthFailed:       1,
		rpctypes.ErrInvalidAuthToken: 4, // on the open stream, and three new ones
	} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				k := b.keeper(nil)
				l := b.lease(k)
				time.Sleep(4 * time.Second) // a stream is open
				before := len(b.keepAlives())
				b.with(func() { everyone(b.fails, err) })
				<-l.Done()
				wantEnd(t, l, lease.ErrUnauthorised)
				if got := b.now(); got > 7*time.Second {
					t.Errorf("Done after %v, want with the keepalive at 6s", got)
				}
				time.Sleep(time.Minute)
				if got := len(b.keepAlives()) - before; got != tries {
					t.Errorf("%d keepalives after the user was denied, want %d", got, tries)
				}
				if _, lerr := k.Lease(t.Context()); !errors.Is(lerr, lease.ErrUnauthorised) || !errors.Is(lerr, err) {
					t.Errorf("Lease: got %v, want ErrUnauthorised with its cause", lerr)
				}
				if got := len(b.grantTries()); got > 1+tries {
					t.Errorf("%d grants of a denied user, want %d at most", got-1, tries)
				}
			})
		})
	}
}

func TestAStaleTokenIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		for range 10 { // a member restarts and forgets, again and again
			b.with(func() { b.fails[lease.Shared] = rpctypes.ErrInvalidAuthToken })
			time.Sleep(3 * time.Second)
			b.with(func() { clear(b.fails) })
			time.Sleep(3 * time.Second)
		}
		if l.Err() != nil {
			t.Errorf("a token that was stale on one route: %v, want the lease to live", l.Err())
		}
	})
}

func TestConfirmAsksNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		time.Sleep(time.Second)
		b.with(func() { everyone(b.delay, 100*time.Millisecond) })
		if err := l.Confirm(t.Context()); err != nil || b.now() != 1100*time.Millisecond {
			t.Errorf("Confirm: %v after %v, want no error at 1.1s", err, b.now())
		}
		b.with(func() { everyone(b.silent, true) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) || l.Err() != nil {
			t.Errorf("Confirm of a silent cluster: %v, and the lease %v; want its context's error and a live lease", err, l.Err())
		}
		b.with(func() { clear(b.silent); b.gone = true })
		if err := l.Confirm(t.Context()); !errors.Is(err, lease.ErrRevoked) {
			t.Errorf("Confirm of a revoked lease: got %v, want ErrRevoked", err)
		}
	})
}

func TestTwoAnswersAtOnceLeaveOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		l := b.lease(b.keeper(nil))
		b.with(func() {
			everyone(b.delay, time.Second)
			b.delay[lease.Shared] = 2 * time.Second // asked a second before the next
		})
		for range 20 {
			time.Sleep(2 * time.Second)
			synctest.Wait()
			open := 0
			b.with(func() {
				for _, n := range b.streams {
					open += n
				}
			})
			if open > 2 { // two tries, while they are underway
				t.Fatalf("%d streams are open", open)
			}
		}
		if l.Err() != nil {
			t.Error(l.Err())
		}
	})
}
