package doctor_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/doctor"
)

// leader counts leases on a clock that runs at a rate of its own.
type leader struct {
	pb.LeaseClient
	rate    float64
	term    func(since time.Duration) uint64
	delay   time.Duration
	failing error

	granted time.Time
	ttl     int64
	revoked bool
}

func (l *leader) LeaseGrant(_ context.Context, req *pb.LeaseGrantRequest, _ ...grpc.CallOption) (*pb.LeaseGrantResponse, error) {
	l.granted, l.ttl = time.Now(), req.TTL
	return &pb.LeaseGrantResponse{ID: 7, TTL: req.TTL}, l.failing
}

func (l *leader) LeaseRevoke(context.Context, *pb.LeaseRevokeRequest, ...grpc.CallOption) (*pb.LeaseRevokeResponse, error) {
	l.revoked = true
	return &pb.LeaseRevokeResponse{}, nil
}

func (l *leader) LeaseTimeToLive(context.Context, *pb.LeaseTimeToLiveRequest, ...grpc.CallOption) (*pb.LeaseTimeToLiveResponse, error) {
	time.Sleep(l.delay) // the way there; the bubble's clock
	passed := time.Since(l.granted)
	left := int64(float64(l.ttl) - passed.Seconds()*l.rate) // whole seconds, cut, as etcd does
	time.Sleep(l.delay)
	term := uint64(1)
	if l.term != nil {
		term = l.term(passed)
	}
	return &pb.LeaseTimeToLiveResponse{ID: 7, TTL: left, Header: &pb.ResponseHeader{RaftTerm: term}}, nil
}

func TestTheRateOfTheLeadersClockIsMeasured(t *testing.T) {
	for _, rate := range []float64{1, 1.02, 0.98, 1.5, 0.5} {
		for _, delay := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				l := &leader{rate: rate, delay: delay}
				faster, within, problem := doctor.MeasureClock(t.Context(), l, 5*time.Second)
				if problem != "" || math.Abs(faster-(rate-1)) > within || within > 0.02 {
					t.Errorf("rate %v at a distance of %v: got %.4f within %.4f, %q; want %.4f", rate, delay, faster, within, problem, rate-1)
				}
				if !l.revoked {
					t.Error("the lease was not revoked")
				}
			})
		}
	}
}

func TestAClockThatCannotBeMeasuredIsNotGuessed(t *testing.T) {
	for want, l := range map[string]*leader{
		"the leader changed":      {rate: 1, term: func(since time.Duration) uint64 { return uint64(since / (2 * time.Second)) }},
		"does not count down":     {rate: 0},
		"the lease expired early": {rate: 100},
		"no lease today":          {rate: 1, failing: errors.New("no lease today")},
	} {
		synctest.Test(t, func(t *testing.T) {
			if _, _, problem := doctor.MeasureClock(t.Context(), l, 3*time.Second); !strings.Contains(problem, want) {
				t.Errorf("got %q, want %q", problem, want)
			}
		})
	}
}
