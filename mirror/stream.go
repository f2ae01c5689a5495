package mirror

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// stream is one watch on one gRPC stream of the client's connection.
//
// It is not clientv3.Watch, which resumes by itself and does not say so: what resumes must
// first make sure that it is still the same history (a wiped database that has come as far as
// the copy looks just like a healthy one). Besides, clientv3 buffers without bound, and shares a
// stream, on which a progress request is only answered when every watch is synced. Here gRPC's
// flow control reaches the member.
type stream struct {
	client pb.Watch_WatchClient
	cancel context.CancelFunc
	header *pb.ResponseHeader // of the answer to the request: which member serves the watch

	received  atomic.Uint64          // messages with events, fragments included
	responses chan *pb.WatchResponse // of whole transactions; closed at the end
	err       error                  // why it ended; to be read after that
}

// openStream sends a watch request. It returns when the member has accepted it. ctx bounds the
// call, life the stream.
func openStream(ctx, life context.Context, cli *clientv3.Client, create *pb.WatchCreateRequest) (*stream, error) {
	life, cancel := context.WithCancel(life)
	s := &stream{cancel: cancel, responses: make(chan *pb.WatchResponse)}
	stop := context.AfterFunc(ctx, cancel)
	err := s.open(life, cli, create)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			return nil, errtext.Errorf("no member accepted the watch: %w", context.Cause(ctx))
		}
		return nil, err
	}
	go s.receive(life) // ends with close
	return s, nil
}

func (s *stream) open(ctx context.Context, cli *clientv3.Client, create *pb.WatchCreateRequest) error {
	var err error
	s.client, err = pb.NewWatchClient(cli.ActiveConnection()).Watch(clientv3.WithRequireLeader(ctx), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return rpctypes.Error(err)
	}
	if err := s.client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		_, err = s.client.Recv() // Send only says EOF
		return rpctypes.Error(err)
	}
	created, err := s.client.Recv()
	if err != nil {
		return rpctypes.Error(err)
	}
	if created.Canceled {
		return cancelled(created)
	}
	s.header = created.Header
	return nil
}

// receive passes on whole transactions. A response can come in fragments and hold up to a
// thousand transactions: only the last one of a fragment waits for the next fragment.
func (s *stream) receive(ctx context.Context) {
	defer close(s.responses)
	var rest []*mvccpb.Event
	for {
		r, err := s.client.Recv()
		if err != nil {
			s.err = rpctypes.Error(err)
			return
		}
		if len(r.Events) > 0 {
			s.received.Add(1)
		}
		r.Events = append(rest, r.Events...)
		if rest = nil; r.Fragment {
			if r.Events, rest = splitLast(r.Events); len(r.Events) == 0 {
				continue
			}
		}
		select {
		case s.responses <- r:
		case <-ctx.Done():
			s.err = ctx.Err()
			return
		}
	}
}

// splitLast parts the events of the last revision from those before.
func splitLast(events []*mvccpb.Event) (before, last []*mvccpb.Event) {
	at := len(events)
	for at > 0 && events[at-1].Kv.ModRevision == events[len(events)-1].Kv.ModRevision {
		at--
	}
	return events[:at:at], events[at:]
}

// askProgress makes the member say how far it is. It stays silent while the watch lags behind.
func (s *stream) askProgress() {
	// An error ends the stream, which receive then reports.
	_ = s.client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// close ends the stream and waits for it.
func (s *stream) close() {
	s.cancel()
	for range s.responses {
	}
}

// cancelled is why the member ended the watch.
func cancelled(r *pb.WatchResponse) error {
	if r.CompactRevision != 0 {
		return rpctypes.ErrCompacted
	}
	reason := r.CancelReason
	if _, desc, ok := strings.Cut(reason, " desc = "); ok { // a gRPC error as text
		reason = desc
	}
	if reason == "" {
		reason = "the member ended the watch without a reason"
	}
	return rpctypes.Error(errors.New(reason))
}
