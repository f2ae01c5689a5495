package keys

import (
	"context"
	"errors"
	"iter"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	requestTimeout = 15 * time.Second // of one request, or of the wait for the next part of a streamed one
	mostFailures   = 3                // in a row, of a read that can be repeated
)

// reader reads at one revision, which never changes: any member that has the revision gives the same answer.
type reader struct {
	cli      *clientv3.Client
	revision int64
	whole    bool // pages have values and leases

	linearizable bool // a member lagged behind the revision
	unary        bool // the members have no streamed ranges (etcd 3.6 and older), or the client passes none on
}

// open returns a reader at a revision; 0 is the newest. key is one that the user may read.
func open(ctx context.Context, cli *clientv3.Client, key string, revision int64) (*reader, error) {
	r := &reader{cli: cli, revision: revision}
	if revision != 0 {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, first(key), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	r.revision = resp.Header.Revision
	return r, nil
}

// first is the first key of a prefix. etcd has no empty key.
func first(prefix string) string {
	if prefix == "" {
		return "\x00"
	}
	return prefix
}

// at are the options of a read. Any member may answer, until one has not come as far as the revision.
func (r *reader) at(opts ...clientv3.OpOption) []clientv3.OpOption {
	opts = append(opts, clientv3.WithRev(r.revision))
	if !r.linearizable {
		opts = append(opts, clientv3.WithSerializable())
	}
	return opts
}

// lags tells whether a read failed because the member has not come as far as the revision. From then on reads
// wait until the member has.
func (r *reader) lags(err error) bool {
	if r.linearizable || !errors.Is(err, rpctypes.ErrFutureRev) {
		return false
	}
	r.linearizable = true
	return true
}

// do makes a read of the options that it is given.
func (r *reader) do(ctx context.Context, read func(ctx context.Context, at []clientv3.OpOption) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := read(ctx, r.at())
	if r.lags(err) {
		err = read(ctx, r.at())
	}
	return err
}

// pages yields the keys of a range in order. A break ends the request. It ends with
// at most one error.
//
// A unary Range counts all keys up to the end of its range, however few it returns. A streamed one counts at
// its end only: one that is ended before it costs what it has sent.
func (r *reader) pages(ctx context.Context, keys Range) iter.Seq2[[]*mvccpb.KeyValue, error] {
	return func(yield func([]*mvccpb.KeyValue, error) bool) {
		p := &ask.Pages{Revision: &r.revision}
		p.From, p.End = keys.Bounds()
		if p.End == "" { // one key, and none when it was read
			p.End = p.From + "\x00"
		}
		for failures := 0; ; {
			began := p.From
			var more bool
			var err error
			pass := func(kvs []*mvccpb.KeyValue) bool {
				if len(kvs) == 0 {
					return true
				}
				p.Passed(kvs)
				return yield(kvs, nil)
			}
			if r.unary || failures > 0 {
				more, err = r.page(ctx, p, pass)
			} else {
				more, err = r.stream(ctx, p, pass)
			}
			switch {
			case err == nil && !more:
				return
			case err == nil || p.From != began:
				failures = 0
			default:
				failures++
			}
			if err != nil && !r.repeatable(ctx, err, failures) {
				yield(nil, err)
				return
			}
		}
	}
}

// what adds to the options of a read what it has of each key.
func (r *reader) what(opts ...clientv3.OpOption) []clientv3.OpOption {
	if r.whole {
		return opts
	}
	return append(opts, clientv3.WithKeysOnly())
}

// repeatable tells whether a read that failed is worth another try.
func (r *reader) repeatable(ctx context.Context, err error, failures int) bool {
	if r.lags(err) {
		return true
	}
	if status.Code(err) == codes.Unimplemented && !r.unary {
		r.unary = true
		return true
	}
	return ctx.Err() == nil && failures < mostFailures && ask.ClassOf(err) != ask.Final
}

// page passes one page on. more tells that another follows.
func (r *reader) page(ctx context.Context, p *ask.Pages, pass func([]*mvccpb.KeyValue) bool) (more bool, err error) {
	var resp *clientv3.GetResponse
	err = r.do(ctx, func(ctx context.Context, at []clientv3.OpOption) (err error) {
		resp, err = r.cli.Get(ctx, p.From, append(r.what(p.Options()...), at...)...)
		return err
	})
	if err != nil {
		return false, err
	}
	return pass(resp.Kvs) && resp.More, nil
}

// stream passes on what a streamed range sends, until the end or until pass is false. It is repeated if it
// fails. more is always false.
func (r *reader) stream(ctx context.Context, p *ask.Pages, pass func([]*mvccpb.KeyValue) bool) (more bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts, err := r.cli.GetStream(ctx, p.From, r.at(r.what(clientv3.WithRange(p.End))...)...)
	if err != nil {
		return false, err
	}
	defer func() { // clientv3's goroutine ends when it has passed on its last part
		cancel(nil)
		for range parts {
		}
	}()
	silent := time.AfterFunc(requestTimeout, func() { cancel(ask.NoAnswerWithin(requestTimeout)) })
	defer silent.Stop()
	for part := range parts {
		silent.Stop() // what follows is the caller's time
		if err := part.Err(); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return false, cause
			}
			return false, err
		}
		if !pass(part.Kvs) {
			return false, nil
		}
		silent.Reset(requestTimeout)
	}
	return false, nil
}
