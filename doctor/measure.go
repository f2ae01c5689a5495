package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// commitSamples leases are granted and revoked to see how long a commit takes.
	commitSamples = 5
	// shortestTTL is asked for to see what the cluster makes of it.
	shortestTTL = 1
	// pollEvery is how often a lease is asked for around the moment at which its remaining time, whole seconds, changes.
	pollEvery = 5 * time.Millisecond
	// around is how long before the expected moment the asking begins.
	around = 100 * time.Millisecond
)

// measurements are those that need a quorum.
type measurements struct {
	problem string // why they were not made; "" if they were

	auth        auth
	authProblem string

	commits []time.Duration // of single grants and revocations
	minimum time.Duration   // the TTL that a lease of one second was given; 0: not measured

	clock clockRate

	leases        int // how many there are; -1: not known
	leasesProblem string
}

// unmeasured: what could not be measured at all?
func (e *examination) unmeasured() []Finding {
	if e.leases.problem == "" {
		return nil
	}
	what := "commits, the leader's clock and the shortest TTL were not measured"
	if e.leases.auth == authUnknown {
		what = "whether authentication is on, commits, the leader's clock and the shortest TTL are not known"
	}
	return []Finding{{
		ID: "not-measured", Severity: Info, What: what + ": " + e.leases.problem,
		Why: "they are measured with leases, which etcd grants only while it has a quorum and space",
		Do:  "deal with the problems, then examine again",
	}}
}

// measure asks the leader if it can be reached, and else another healthy member: one that answers.
func (e *examination) measure(ctx context.Context) measurements {
	m := measurements{leases: -1}
	through := e.through()
	if through == nil {
		m.problem = "the cluster has no quorum"
		return m
	}
	conn, err := e.cli.Dial(through.Endpoint)
	if err != nil {
		m.problem = problem(err, e.opts.Timeout)
		return m
	}
	defer conn.Close()
	p := &prober{lease: pb.NewLeaseClient(conn), timeout: e.opts.Timeout}
	e.opts.Progress("asking whether authentication is on")
	m.auth, m.authProblem = askAuth(ctx, conn, e.opts.Timeout)
	e.opts.Progress("measuring commits")
	if m.problem = m.measureCommits(ctx, p); m.problem != "" {
		return m
	}
	e.opts.Progress(fmt.Sprintf("measuring the leader's clock for %v", e.opts.Wait))
	m.clock = p.clockRate(ctx, e.opts.Wait)
	m.countLeases(ctx, p)
	return m
}

// through is the member to measure through; nil if there is no quorum.
func (e *examination) through() *Member {
	c := e.before
	if !c.HasQuorum() {
		return nil
	}
	if m := c.Member(c.Leader); m != nil && m.Reachable {
		return m
	}
	for i := range c.Members {
		if m := &c.Members[i]; m.Reachable && !m.IsLearner && m.Leader == c.Leader {
			return m
		}
	}
	return nil
}

// askAuth asks whether authentication is on. etcd before 3.5 cannot tell.
func askAuth(ctx context.Context, conn grpc.ClientConnInterface, timeout time.Duration) (auth, string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := pb.NewAuthClient(conn).AuthStatus(ctx, &pb.AuthStatusRequest{})
	switch {
	case err == nil && resp.GetEnabled():
		return authOn, ""
	case err == nil:
		return authOff, ""
	case denied(err): // refused only where it is on
		return authOn, ""
	case status.Code(err) == codes.Unimplemented:
		return authUnknown, "this version cannot tell"
	}
	return authUnknown, problem(err, timeout)
}

func (m *measurements) measureCommits(ctx context.Context, p *prober) (why string) {
	for range commitSamples {
		began := time.Now()
		id, ttl, err := p.grant(ctx, shortestTTL)
		if err != nil {
			return problem(err, p.timeout)
		}
		granted := time.Since(began)
		m.minimum = ttl
		began = time.Now()
		if err := p.revoke(ctx, id); err != nil {
			return problem(err, p.timeout)
		}
		m.commits = append(m.commits, granted, time.Since(began))
	}
	return ""
}

func (m *measurements) countLeases(ctx context.Context, p *prober) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	resp, err := p.lease.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		m.leasesProblem = problem(err, p.timeout)
		return
	}
	m.leases = len(resp.GetLeases())
}

// prober makes the requests.
type prober struct {
	lease   pb.LeaseClient
	timeout time.Duration
}

func (p *prober) grant(ctx context.Context, ttl int64) (id int64, granted time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	resp, err := p.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: ttl})
	if err != nil {
		return 0, 0, err
	}
	return resp.GetID(), time.Duration(resp.GetTTL()) * time.Second, nil
}

// revoke also ends a lease after ctx was cancelled, so that none stays for longer than necessary.
func (p *prober) revoke(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	defer cancel()
	_, err := p.lease.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		return nil // it has expired
	}
	return err
}

// left is the remaining time of a lease in whole seconds, and the leader's term.
func (p *prober) left(ctx context.Context, id int64) (left int64, term uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	resp, err := p.lease.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
	if err != nil {
		return 0, 0, err
	}
	return resp.GetTTL(), resp.GetHeader().GetRaftTerm(), nil
}
