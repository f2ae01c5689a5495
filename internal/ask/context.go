package ask

import "context"

// UntilDone returns ctx, which also ends when done is closed, with that cause then.
func UntilDone(ctx context.Context, done <-chan struct{}, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	select {
	case <-done:
		cancel(cause)
	default:
		go func() { // ends with ctx
			select {
			case <-done:
				cancel(cause)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// endWith returns ctx, which also ends when other does, with that cause then; nil is other's own. It needs
// no goroutine.
func endWith(ctx, other context.Context, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() {
		if cause != nil {
			cancel(cause)
		} else {
			cancel(context.Cause(other))
		}
	}
	if other.Err() != nil {
		end()
		return ctx, func() {}
	}
	stop := context.AfterFunc(other, end)
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
