package ask_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/etcdkit/etcdkit/internal/ask"
)

func TestAContextWithTwoEnds(t *testing.T) {
	errDone, errOther := errors.New("done"), errors.New("other")
	for name, make2 := range map[string]func(ctx context.Context, cause error) (_ context.Context, cancel, end func()){
		"UntilDone": func(ctx context.Context, cause error) (context.Context, func(), func()) {
			done := make(chan struct{})
			two, cancel := ask.UntilDone(ctx, done, cause)
			return two, cancel, func() { close(done) }
		},
		"UntilDone, done before": func(ctx context.Context, cause error) (context.Context, func(), func()) {
			done := make(chan struct{})
			close(done)
			two, cancel := ask.UntilDone(ctx, done, cause)
			return two, cancel, nil
		},
		"endWith": func(ctx context.Context, cause error) (context.Context, func(), func()) {
			other, end := context.WithCancelCause(context.Background())
			two, cancel := ask.EndWith(ctx, other, cause)
			return two, cancel, func() { end(errOther) }
		},
		"endWith, ended before": func(ctx context.Context, cause error) (context.Context, func(), func()) {
			other, end := context.WithCancelCause(context.Background())
			end(errOther)
			two, cancel := ask.EndWith(ctx, other, cause)
			return two, cancel, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel, end := make2(t.Context(), errDone)
				defer cancel()
				if end != nil {
					if ctx.Err() != nil {
						t.Fatalf("it has ended already: %v", context.Cause(ctx))
					}
					end()
					<-ctx.Done()
				}
				if got := context.Cause(ctx); got != errDone {
					t.Errorf("the second end: got %v, want %v", got, errDone)
				}
				if end == nil {
					return
				}
				first, stop := context.WithCancel(t.Context())
				ctx, cancel, end = make2(first, errDone)
				stop()
				<-ctx.Done()
				if got := context.Cause(ctx); got != context.Canceled {
					t.Errorf("the first end: got %v, want %v", got, context.Canceled)
				}
				cancel()
				end()
				synctest.Wait()
			})
		})
	}
	other, end := context.WithCancelCause(t.Context())
	end(errOther)
	ctx, cancel := ask.EndWith(t.Context(), other, nil)
	defer cancel()
	if got := context.Cause(ctx); got != errOther {
		t.Errorf("no cause: got %v, want other's", got)
	}
}
