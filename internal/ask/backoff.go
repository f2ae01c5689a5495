package ask

import (
	"context"
	"math/rand/v2"
	"time"
)

// Jitter draws the pauses between the tries of one caller, with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): each is a random part
// of a ceiling, which doubles from First to Most. It is not for use by several goroutines.
type Jitter struct {
	First, Most time.Duration
	ceiling     time.Duration
}

// Next returns the next pause. It is never 0.
func (j *Jitter) Next() time.Duration {
	j.ceiling = min(max(2*j.ceiling, j.First), j.Most)
	return rand.N(j.ceiling) + 1
}

// Reset begins again with the first ceiling.
func (j *Jitter) Reset() { j.ceiling = 0 }

// Backoff waits for such pauses, and for the end of an outage.
type Backoff struct {
	Jitter
	client *Client
}

// Backoff returns one whose ceiling grows from first to most.
func (c *Client) Backoff(first, most time.Duration) *Backoff {
	return &Backoff{Jitter{First: first, Most: most}, c}
}

// Wait returns when it is time for the next try. In an outage that is when an endpoint answers, and
// no pause comes on top. The error is ErrClosed, or the cause of ctx's end.
func (b *Backoff) Wait(ctx context.Context) error { return b.WaitAtLeast(ctx, 0) }

// WaitAtLeast is Wait with a pause that is longer by least.
func (b *Backoff) WaitAtLeast(ctx context.Context, least time.Duration) error {
	pause := b.Next()
	if b.client.Outage() != nil {
		pause = 0
	}
	if pause += least; pause > 0 {
		if err := b.client.sleep(ctx, pause); err != nil {
			return err
		}
	}
	return b.client.Await(ctx)
}
