package cli

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	// patience is how long a command waits while etcd does not answer, unless --dial-timeout says otherwise. An
	// election of a new leader takes one to two seconds.
	patience = 4 * time.Second
	// causeTimeout is the part of it in which the members are asked why.
	causeTimeout = time.Second
	// sayAfter is how long a command waits before it says so.
	sayAfter = time.Second

	lookEvery = 100 * time.Millisecond
)

// silence ends a command whose requests etcd leaves without an answer, and finds out why it does. It bounds a single
// request: the time counts from the latest answer, and only while a request is under way or none can be sent.
// A watch is silent while nothing changes, so it does not count; nor does what one member answers without the others.
//
// It ends a command by closing its client: whatever stands on that ends then.
type silence struct {
	a      *app
	bound  time.Duration // until the members are asked
	asking time.Duration // for how long
	until  bool          // until the first answer only
	says   bool          // why, and ends nothing

	mu       sync.Mutex
	underWay int
	writes   int   // of these, may change something
	failed   bool  // the latest one: it may be tried again
	unsure   bool  // the latest write had no answer, or was under way when the command was ended
	answered bool  // one of them, since the latest look
	cause    error // why the command was ended; nil: it was not
}

// listenTo has a silence hear the requests of the client that place.Find opens with these flags. It ends a command until
// the first answer only if the command has a patience of its own after that.
func (a *app) listenTo(f *place.Flags, untilFirst bool) *silence {
	timeout := cmp.Or(f.Timeout, patience)
	s := &silence{a: a, asking: min(causeTimeout, timeout/2), until: untilFirst}
	s.bound = timeout - s.asking
	f.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(s.unary), grpc.WithChainStreamInterceptor(s.stream)}
	return s
}

// during calls do, and closes the client when etcd is silent for too long. The error is do's, or why etcd is silent.
func (s *silence) during(ctx context.Context, cli *clientv3.Client, do func() error) error {
	stop := s.start(ctx, cli)
	err := do()
	stop()
	if err == nil || settled(err) {
		return err
	}
	s.mu.Lock()
	unsure := s.unsure
	s.mu.Unlock()
	var known *unsureError
	if unsure && !errors.As(err, &known) && (s.cause != nil || reasonWanted(err)) {
		err = &unsureError{err, "what was to be written may still be written later"}
	}
	if s.cause == nil {
		return err
	}
	return s.a.silent(s.cause, err)
}

// start begins to listen, until stop, which waits for the end of that.
func (s *silence) start(ctx context.Context, cli *clientv3.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() { s.listen(ctx, cli) }) // ends with cancel
	return func() {
		cancel()
		listening.Wait()
	}
}

// findAndSay is place.Find for a wrapper, which waits for etcd: it says once why etcd does not answer at the start.
func (a *app) findAndSay(ctx context.Context, f *place.Flags) (*place.Place, error) {
	s := a.listenTo(f, true)
	s.says = true
	p, err := place.Find(ctx, f, a.stdin)
	if err != nil {
		return nil, err
	}
	p.BeforeClose = s.start(context.WithoutCancel(ctx), p.Client)
	return p, nil
}

func (s *silence) listen(ctx context.Context, cli *clientv3.Client) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	line, shown := s.a.out.Progress(), false
	hide := func() {
		if shown {
			line.End()
		}
		shown = false
	}
	defer hide()
	silent, askAt := time.Duration(0), s.bound
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		switch waits, answered := s.look(); {
		case answered && s.until:
			return
		case answered, s.a.asks.Load():
			hide()
			silent, askAt = 0, s.bound
			continue
		case waits || ask.Of(cli).Outage() != nil:
			silent += lookEvery
		}
		if silent >= sayAfter && !s.says {
			shown = true
			line.Setf("waiting for an answer of %s %.1fs", strings.Join(cli.Endpoints(), ", "), silent.Seconds())
		}
		if silent < askAt {
			continue
		}
		if s.end(s.why(ctx, cli), cli) {
			return
		}
		askAt = silent + s.bound // it is slow, and etcd is well
	}
}

// why tells why etcd does not answer; nil: it answers, so the request that waits is slow.
func (s *silence) why(ctx context.Context, cli *clientv3.Client) error {
	answers := make(chan bool, 1)
	go func() { answers <- s.answers(ctx, cli) }() // waited for below
	why := doctor.Cause(ctx, cli, &doctor.Options{Timeout: s.asking})
	if <-answers {
		return nil
	}
	return why
}

// answers asks for what needs a quorum, through one member after the other.
func (s *silence) answers(ctx context.Context, cli *clientv3.Client) bool {
	h := ask.Hedge[*clientv3.GetResponse]{
		Timeout: s.asking, Silence: func(int) time.Duration { return s.asking / 4 },
		Try: func(ctx context.Context, _ int) (*clientv3.GetResponse, error) {
			return cli.Get(ctx, "\x00", clientv3.WithCountOnly())
		},
	}
	_, _, err := h.Run(ctx)
	return !unanswered(err)
}

// look tells whether a request is under way or may be tried again, and whether one was answered since the latest look.
func (s *silence) look() (waits, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answered, s.answered = s.answered, false
	return s.underWay > 0 || s.failed, answered
}

// end closes the client, or says why it does not go on, unless nothing is wrong or an answer has come after all.
func (s *silence) end(why error, cli *clientv3.Client) bool {
	s.mu.Lock()
	if why == nil || s.answered || errors.Is(why, context.Canceled) {
		s.mu.Unlock()
		return false
	}
	if !s.says {
		s.cause, s.unsure = why, s.unsure || s.writes > 0
	}
	s.mu.Unlock()
	if s.says {
		s.a.out.Talkf("etcdkit: %s; waiting until etcd answers", s.a.describe(noAnswer(why)))
	} else {
		cli.Close()
	}
	return true
}

// errSilent is the error of a request that silence has ended. It may have been carried out.
var errSilent = errors.New("etcd is silent")

// begin records that a request is under way, until ctx ends at the latest. end is told of its result, and returns it.
func (s *silence) begin(ctx context.Context, method string) (end func(error) error) {
	writes := 0
	switch method {
	case pb.KV_Put_FullMethodName, pb.KV_DeleteRange_FullMethodName, pb.KV_Txn_FullMethodName, pb.KV_Compact_FullMethodName,
		pb.Lease_LeaseGrant_FullMethodName, pb.Lease_LeaseRevoke_FullMethodName:
		writes = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay++
	s.writes += writes
	return func(err error) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.underWay--
		s.writes -= writes
		switch {
		case !unanswered(err):
			s.failed, s.answered = false, true
			s.unsure = s.unsure && writes == 0
		case s.cause != nil:
			return errSilent // clientv3 would try again
		case errors.Is(ctx.Err(), context.Canceled): // by this program
		default:
			s.failed = true
			s.unsure = s.unsure || writes > 0
		}
		return err
	}
}

func (s *silence) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	switch method {
	case pb.Maintenance_Status_FullMethodName, pb.Cluster_MemberList_FullMethodName, pb.Lease_LeaseLeases_FullMethodName, grpc_health_v1.Health_Check_FullMethodName:
		return invoke(ctx, method, req, reply, cc, opts...) // a member answers by itself
	}
	if get, ok := req.(*pb.RangeRequest); ok && get.Serializable {
		return invoke(ctx, method, req, reply, cc, opts...) // as above
	}
	end := s.begin(ctx, method)
	return end(invoke(ctx, method, req, reply, cc, opts...))
}

func (s *silence) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if method == pb.Watch_Watch_FullMethodName {
		return open(ctx, desc, cc, method, opts...)
	}
	end := s.begin(ctx, method)
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, end(err)
	}
	s.mu.Lock()
	s.underWay--
	s.mu.Unlock()
	return &heardStream{stream, s, method}, nil
}

// heardStream is a stream whose messages are answers.
type heardStream struct {
	grpc.ClientStream
	s      *silence
	method string
}

func (h *heardStream) RecvMsg(m any) error {
	end := h.s.begin(h.Context(), h.method)
	return end(h.ClientStream.RecvMsg(m))
}
