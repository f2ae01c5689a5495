package safety_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
)

// span is for how many revisions a register is used. Some 200 operations on it pass meanwhile.
const span = 1000

// hand is what a worker has on one subject: it does one thing after another.
type hand struct {
	*worker
	on   subject
	rand *rand.Rand
	seen int64 // the last revision

	// Guarded by worker.mu.
	sent *pb.TxnRequest // the last guarded write
	copy *pb.TxnRequest // of one whose hold is over, to be sent once more
}

func (w *worker) handsOn(all []subject) map[subject]*hand {
	hands := make(map[subject]*hand)
	for i, s := range all {
		hands[s] = &hand{worker: w, on: s, rand: rand.New(rand.NewPCG(w.Seed, uint64(i)))}
	}
	return hands
}

// hold is a lock's, or a term.
type hold interface {
	Key() string
	Token() int64
	Txn(context.Context, ...clientv3.Cmp) clientv3.Txn
	Done() <-chan struct{}
	Err() error
}

// do carries an operation out and says so before and after.
func (h *hand) do(o op, most time.Duration, f func(context.Context, *op) error) error {
	o.Call, o.Outcome = now(), info
	h.say(o)
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	err := f(ctx, &o)
	h.end(o, err)
	return err
}

// end says how an operation has ended.
func (h *hand) end(o op, err error) op {
	o.Return, o.Outcome = now(), outcome(o, err)
	if err != nil {
		o.Error = err.Error()
	}
	h.seen = max(h.seen, o.Revision)
	h.say(o)
	return o
}

// acquire takes a lock and reads a key with it.
func (h *hand) acquire(key string, take func(context.Context, ...clientv3.Op) (*lock.Hold, error)) *lock.Hold {
	var held *lock.Hold
	var riding op
	_ = h.do(h.begin(acquire, h.on.queue(), 0), wait, func(ctx context.Context, o *op) (err error) {
		held, err = take(ctx, clientv3.OpGet(key))
		if err != nil {
			return err
		}
		o.Key, o.Token, o.Revision = held.Key(), held.Token(), held.Reads()[0].Header.Revision
		riding = *o
		return nil
	})
	if held == nil {
		return nil
	}
	h.watch(held)
	r := h.begin(read, key, held.Token())
	r.Call, r.Return, r.Outcome = riding.Call, now(), ok
	r.Revision, r.Value = riding.Revision, text(held.Reads()[0])
	h.say(r)
	return held
}

// watch tells when a hold is lost.
func (h *hand) watch(held hold) {
	h.holding.Go(func() { // ends with the hold
		<-held.Done()
		if err := held.Err(); errors.Is(err, lock.ErrLost) || errors.Is(err, election.ErrLost) {
			h.tell(h.begin(lost, held.Key(), held.Token()))
		}
	})
}

func text(resp *clientv3.GetResponse) string {
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// commit writes the counter and releases.
func (h *hand) commit(held *lock.Hold, what string, count int) {
	o := h.begin(what, h.on.counter(), held.Token())
	o.Value = mark{count, o.Worker, o.N, o.Token}.String()
	h.keep(h.do(o, patience, func(ctx context.Context, o *op) error {
		resp, err := held.Commit(ctx, clientv3.OpPut(o.Key, o.Value))
		if err == nil {
			o.Revision = resp.Header.Revision
		}
		return err
	}))
}

// increment adds one to the counter, which was read when the lock was acquired.
func (h *hand) increment(held *lock.Hold) {
	h.commit(held, increment, 1+counted(text(held.Reads()[0])))
}

// counted is the count in what a worker wrote.
func counted(value string) int {
	m, err := parseMark(value)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	return m.count
}

func (h *hand) release(held hold, f func(context.Context) error) {
	h.keep(h.do(h.begin(release, held.Key(), held.Token()), wait, func(ctx context.Context, _ *op) error { return f(ctx) }))
}

// visit reads and writes a register for a while, if it may write. It does not look whether it still
// holds, until etcd refuses something.
func (h *hand) visit(held hold, key string, writes bool) {
	if h.rand.IntN(2) == 0 {
		h.resend() // which this hold, though its key is the same, must not let through
	}
	var err error
	for n := 4 + h.rand.IntN(5); n > 0 && !errors.Is(err, errRefused); n-- {
		if writes && h.rand.IntN(2) == 0 {
			err = h.write(held, key)
		} else {
			err = h.read(held, key)
		}
	}
}

// register returns the register that is in use. Two workers may use different ones: each is checked by itself.
func (h *hand) register() string { return fmt.Sprint(h.on.registers(), h.seen/span) }

func (h *hand) write(held hold, key string) error {
	o := h.begin(write, key, held.Token())
	o.Value = mark{0, o.Worker, o.N, o.Token}.String()
	return h.do(o, patience, func(ctx context.Context, o *op) error {
		_, err := guarded(ctx, held, o, clientv3.OpPut(o.Key, o.Value))
		return err
	})
}

func (h *hand) read(held hold, key string) error {
	return h.do(h.begin(read, key, held.Token()), patience, func(ctx context.Context, o *op) error {
		resp, err := guarded(ctx, held, o, clientv3.OpGet(o.Key))
		if err == nil {
			o.Value = text((*clientv3.GetResponse)(resp.Responses[0].GetResponseRange()))
		}
		return err
	})
}

func guarded(ctx context.Context, held hold, o *op, do clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, err := held.Txn(ctx).Then(do).Commit()
	if err != nil {
		return nil, err
	}
	o.Revision = resp.Header.Revision
	if !resp.Succeeded {
		return nil, errRefused
	}
	return resp, nil
}

// peek reads the register under nothing.
func (h *hand) peek() {
	_ = h.do(h.begin(read, h.register(), 0), patience, func(ctx context.Context, o *op) error {
		resp, err := h.cli.Get(ctx, o.Key)
		if err == nil {
			o.Revision, o.Value = resp.Header.Revision, text(resp)
		}
		return err
	})
}

// remember sees all requests, and keeps guarded writes.
func (w *worker) remember(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if txn, is := req.(*pb.TxnRequest); is && len(txn.Success) > 0 {
		key := string(txn.Success[0].GetRequestPut().GetKey())
		if h := w.hands[of(key)]; h != nil && h.on.protects(key) {
			w.mu.Lock()
			h.sent = txn
			w.mu.Unlock()
		}
	}
	return send(ctx, method, req, reply, cc, opts...)
}

// keep records how the end of a hold went. If that was acknowledged, the entry is gone, and
// what was written last under its guard may come once more.
func (h *hand) keep(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.copy = nil; err == nil {
		h.copy = h.sent
	}
	h.sent = nil
}

// resend lets a write come once more, after its time. Pauses alone do not get there with a Commit,
// which looks at the clock before it sends.
func (h *hand) resend() {
	h.mu.Lock()
	request := h.copy
	h.copy = nil
	h.mu.Unlock()
	if request == nil {
		return
	}
	key := string(request.Success[0].GetRequestPut().GetKey())
	_ = h.do(h.begin(late, key, 0), patience, func(ctx context.Context, o *op) error {
		resp, err := pb.NewKVClient(h.cli.ActiveConnection()).Txn(ctx, request)
		if err == nil && !resp.Succeeded {
			return errRefused
		}
		return err
	})
}
