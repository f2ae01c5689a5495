package ask_test

import (
	"context"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestClosingManyHandlesOneAfterAnotherTakesTwoSecondsTogether(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]int32{"silent": silent, "refused": closes} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, _, c := reached(t, plain)
			c.Answered()
			for _, d := range all {
				d.become(mode)
			}
			began := time.Now()
			for range 10 {
				ctx, done := c.ClosingContext(t.Context())
				<-ctx.Done() // a request without an answer
				if err := c.Explain(context.Cause(ctx)); err == nil {
					t.Error("a farewell that is cut short says nothing")
				}
				done()
			}
			took := time.Since(began)
			t.Logf("ten handles: %v", took)
			if took > 2*time.Second && !means.Race {
				t.Errorf("ten handles, one after another: %v, want 2 s together", took)
			}
		})
	}
}

func TestAFarewellThatIsAnsweredIsNotCutShort(t *testing.T) {
	t.Parallel()
	_, addrs := doors(t, leads)
	c := ask.Of(plain(t, addrs...))
	began := time.Now()
	ctx, done := c.ClosingContext(t.Context())
	for time.Since(began) < 2500*time.Millisecond {
		<-time.After(100 * time.Millisecond)
		c.Answered()
		if ctx.Err() != nil {
			t.Fatalf("ended after %v, though requests are answered", time.Since(began))
		}
	}
	done()
	for range 30 { // each of them a tenth of the bound
		ctx, done := c.ClosingContext(t.Context())
		<-time.After(100 * time.Millisecond)
		if ctx.Err() != nil {
			t.Fatal("handles that are answered share no bound")
		}
		c.Answered()
		done()
	}
}

func TestAFarewellEndsAlmostAtOnceWhenNothingCanBeReached(t *testing.T) {
	_, addrs := doors(t, closes)
	cli := plain(t, addrs...)
	c := ask.Of(cli)
	cli.ActiveConnection().Connect()
	until(t, "the outage is known", func() bool { return c.Outage() != nil })
	began := time.Now()
	ctx, done := c.ClosingContext(t.Context())
	<-ctx.Done()
	done()
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// That members are there is no answer to what is being closed. Each handle has time for a try, which is one
// if they answer.
func TestTheBoundOfClosingIsRefilledByAnswersOnly(t *testing.T) {
	t.Parallel()
	all, _, c := reached(t, plain)
	c.Answered()
	answered := time.Now()
	handle := func() time.Duration {
		began := time.Now()
		ctx, done := c.ClosingContext(t.Context())
		defer done()
		<-ctx.Done() // a request without an answer
		return time.Since(began)
	}
	handle() // takes all of it
	before := count(all)
	for seen := (time.Time{}); seen.IsZero() || time.Since(seen) < time.Second; {
		took := handle()
		if took < 15*time.Millisecond {
			t.Fatalf("a handle has %v, want 20 ms for a try", took)
		}
		if took > time.Second {
			t.Fatalf("a handle has %v, though nothing was answered", took)
		}
		if seen.IsZero() && count(all) > before { // it was found out that members are there
			seen = time.Now()
		}
		if time.Since(answered) > generous {
			t.Fatal("void: nothing looks whether members are there")
		}
	}
	if err := c.Outage(); err != nil {
		t.Fatalf("void: %v", err)
	}
}
