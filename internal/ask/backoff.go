package ask

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff spaces the tries of one caller, with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): each pause is a random
// part of a ceiling, which doubles. It is not for use by several goroutines.
type Backoff struct {
	client      *Client
	first, most time.Duration
	ceiling     time.Duration
}

// Backoff returns one whose ceiling grows from first to most.
func (c *Client) Backoff(first, most time.Duration) *Backoff {
	return &Backoff{client: c, first: first, most: most}
}

// Wait returns when it is time for the next try. In an outage that is when an endpoint answers, and
// no pause comes on top. The error is ErrClosed, or the cause of ctx's end.
func (b *Backoff) Wait(ctx context.Context) error { return b.WaitAtLeast(ctx, 0) }

// WaitAtLeast is Wait with a pause that is longer by least.
func (b *Backoff) WaitAtLeast(ctx context.Context, least time.Duration) error {
	b.ceiling = min(max(2*b.ceiling, b.first), b.most)
	pause := least
	if b.client.Outage() == nil {
		pause += rand.N(b.ceiling) + 1
	}
	if pause > 0 {
		if err := b.client.sleep(ctx, pause); err != nil {
			return err
		}
	}
	return b.client.Await(ctx)
}

// Reset begins again with the first ceiling.
func (b *Backoff) Reset() { b.ceiling = 0 }
