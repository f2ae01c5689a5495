package ask

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// probeTimeout is how long a probe may be silent. Until then it is answered as soon as its
	// endpoint goes on.
	probeTimeout = 2 * time.Second
	// Probes start so far apart, with jitter of a quarter of it in both directions. Where a Dialer has
	// gRPC wait, they are all that connects: 1.4 a second. Otherwise gRPC tries each endpoint as well,
	// after 1, 2.6, 5.2, 9.3, … seconds: until it has become slow, probes are fewer. The longest distance
	// and spread are together less than the 3 s within which handles work again.
	pacedEvery     = 700 * time.Millisecond
	unpacedEvery   = time.Second
	whileGRPCTries = 1800 * time.Millisecond
	gRPCIsSlow     = 10 * time.Second
)

// probe asks one endpoint after another until one answers. It ends with the outage, or with the
// client.
func (c *Client) probe(over <-chan struct{}) {
	ctx, cancel := context.WithCancel(c.cli.Ctx())
	defer cancel()
	began, every := time.Now(), whileGRPCTries
	if c.outage.dialer != nil {
		every = pacedEvery
	}
	results, pending := make(chan error), 0
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			<-results
		}
	}()
	next := time.NewTimer(c.firstProbe(every))
	defer next.Stop()
	for try := rand.IntN(1 << 16); ; {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-next.C:
			if c.outage.dialer == nil && time.Since(began) > gRPCIsSlow {
				every = unpacedEvery
			}
			next.Reset(distance(every))
			endpoints := c.cli.Endpoints()
			if len(endpoints) == 0 {
				continue
			}
			pending += c.sendProbe(ctx, endpoints[try%len(endpoints)], results)
			try++
		case err := <-results:
			pending--
			if err == nil {
				c.endOutage()
				return
			}
			c.outage.mu.Lock()
			c.outage.recordCause(err)
			c.outage.mu.Unlock()
		}
	}
}

// sendProbe asks an endpoint, and the client's own connection if it is up. It returns how many results
// that will have.
func (c *Client) sendProbe(ctx context.Context, endpoint string, results chan<- error) int {
	if c.outage.dialer != nil {
		c.outage.dialer.permit()
	}
	go func() { results <- c.reach(ctx, endpoint) }() // probe waits for it
	if !c.connected() {
		return 1
	}
	go func() { results <- c.check(ctx, c.main, Connection) }() // probe waits for it
	return 2
}

// firstProbe is how long the first probe waits: gRPC has just tried.
func (c *Client) firstProbe(every time.Duration) time.Duration {
	var u *Unanswered
	if errors.As(c.Outage(), &u) && u.Cause == nil {
		return 0 // and has not said why it failed
	}
	return distance(every)
}

// distance is how long after one probe the next one starts.
func distance(every time.Duration) time.Duration { return every*3/4 + rand.N(every/2) }

// probeAll finds out whether any endpoint answers, if no other such probe is under way or was a moment ago,
// and begins an outage if none does.
func (c *Client) probeAll() {
	o := &c.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.probing || o.over != nil || time.Since(o.probedAt) < probeAllEvery || c.Err() != nil {
		return
	}
	o.probing, o.probedAt = true, time.Now()
	go func() { // ends within probeTimeout, or with the client
		began := sinceStart()
		answered, cause := c.anyAnswers()
		o.mu.Lock()
		o.probing = false
		o.mu.Unlock()
		switch {
		case answered: // it can be reached; for what is being closed that is no answer
			o.answered.Store(int64(sinceStart()))
		case time.Duration(o.answered.Load()) < began:
			c.beginOutage(cause)
		}
	}()
}

func (c *Client) anyAnswers() (answered bool, cause error) {
	ctx, cancel := context.WithCancel(c.cli.Ctx())
	defer cancel()
	endpoints := c.cli.Endpoints()
	results, asked := make(chan error, len(endpoints)+1), len(endpoints)
	if c.connected() {
		asked++
		go func() { results <- c.check(ctx, c.main, Connection) }() // awaited below
	}
	for _, endpoint := range endpoints {
		go func() { results <- c.reach(ctx, endpoint) }() // awaited below
	}
	for range asked {
		switch err := <-results; {
		case err == nil:
			answered = true
			cancel()
		case cause == nil:
			cause = err
		}
	}
	return answered, cause
}

// reach is nil when a member answers at an endpoint, whatever it says. The question is gRPC's health
// check: it needs no user and no leader. It goes over a connection of its own, which is tried once.
func (c *Client) reach(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cc, err := c.cli.Dial(endpoint)
	if err != nil {
		return &EndpointError{endpoint, err}
	}
	defer cc.Close()
	return c.check(ctx, cc, endpoint)
}

// Connection is how errors call the client's own connection.
const Connection = "the client's connection"

// connected tells whether the client's own connection is up. It can be while new ones are refused: by
// a member that has too many, or as the certificate has expired since.
func (c *Client) connected() bool { return c.main.GetState() == connectivity.Ready }

// check is reach over a connection.
func (c *Client) check(ctx context.Context, cc grpc.ClientConnInterface, where string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(false))
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return &EndpointError{where, err}
	case codes.DeadlineExceeded:
		return &EndpointError{where, NoAnswerWithin(probeTimeout)}
	}
	return nil
}
