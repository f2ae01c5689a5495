package safety_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/lock"
)

// turn is one hold in the fenced arm.
func (w *worker) turn() {
	if w.rand.IntN(4) == 0 {
		w.resend()
	}
	if w.rand.IntN(4) == 0 {
		w.peek()
	}
	if w.rand.IntN(3) == 0 {
		w.visit()
	} else {
		w.increment()
	}
}

// acquire takes the lock and reads a key with it.
func (w *worker) acquire(key string) *lock.Hold {
	var h *lock.Hold
	var riding op
	_ = w.do(w.begin(acquire, "", 0), wait, func(ctx context.Context, o *op) (err error) {
		h, err = w.mutex.Acquire(ctx, clientv3.OpGet(key))
		if err != nil {
			return err
		}
		o.Key, o.Token, o.Revision = h.Key(), h.Token(), h.Reads()[0].Header.Revision
		riding = *o
		return nil
	})
	if h == nil {
		return nil
	}
	r := w.begin(read, key, h.Token())
	r.Call, r.Return, r.Outcome = riding.Call, now(), ok
	r.Revision, r.Value = riding.Revision, text(h.Reads()[0])
	w.say(r)
	w.holding.Go(func() { // ends with the hold
		<-h.Done()
		if errors.Is(h.Err(), lock.ErrLost) {
			o := w.begin(lost, h.Key(), h.Token())
			o.Call, o.Outcome = now(), ok
			o.Return = o.Call
			w.say(o)
		}
	})
	return h
}

func text(resp *clientv3.GetResponse) string {
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// increment adds one to the counter, guarded, by Commit.
func (w *worker) increment() {
	h := w.acquire(counterKey)
	if h == nil {
		return
	}
	o := w.begin(increment, counterKey, h.Token())
	o.Value = w.successor(o, text(h.Reads()[0]))
	err := w.do(o, patience, func(ctx context.Context, o *op) error {
		resp, err := h.Commit(ctx, clientv3.OpPut(o.Key, o.Value))
		if err == nil {
			o.Revision = resp.Header.Revision
		}
		return err
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.copy = nil; err == nil {
		w.copy = w.sent
	}
}

// remember is told of all requests, and keeps Commits.
func (w *worker) remember(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if txn, is := req.(*pb.TxnRequest); is && len(txn.Success) > 0 && string(txn.Success[0].GetRequestPut().GetKey()) == counterKey {
		w.mu.Lock()
		w.sent = txn
		w.mu.Unlock()
	}
	return send(ctx, method, req, reply, cc, opts...)
}

// resend lets a Commit come once more, after its time. Pauses alone do not get there, as Commit
// looks at the clock before it sends.
func (w *worker) resend() {
	w.mu.Lock()
	request := w.copy
	w.copy = nil
	w.mu.Unlock()
	if request == nil {
		return
	}
	_ = w.do(w.begin(late, counterKey, 0), patience, func(ctx context.Context, o *op) error {
		resp, err := pb.NewKVClient(w.cli.ActiveConnection()).Txn(ctx, request)
		if err == nil && !resp.Succeeded {
			return errRefused
		}
		return err
	})
}

// successor is what an increment writes.
func (w *worker) successor(o op, old string) string {
	m, err := parseMark(old)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	return mark{m.count + 1, o.Worker, o.N, o.Token}.String()
}

// visit reads and writes a register for a while. It does not look whether it still holds the lock,
// until etcd refuses something.
func (w *worker) visit() {
	key := w.register()
	h := w.acquire(key)
	if h == nil {
		return
	}
	if w.rand.IntN(2) == 0 {
		w.resend() // which this hold, with the same key, must not help
	}
	var err error
	for n := 4 + w.rand.IntN(5); n > 0 && !errors.Is(err, errRefused); n-- {
		if w.rand.IntN(2) == 0 {
			err = w.write(h, key)
		} else {
			err = w.read(h, key)
		}
	}
	_ = w.do(w.begin(release, h.Key(), h.Token()), wait, func(ctx context.Context, _ *op) error { return h.Release(ctx) })
}

// register is the one that is in use. Two workers need not agree: each register is one by itself.
func (w *worker) register() string { return fmt.Sprint(registers, w.seen/span) }

func (w *worker) write(h *lock.Hold, key string) error {
	o := w.begin(write, key, h.Token())
	o.Value = mark{0, o.Worker, o.N, o.Token}.String()
	return w.do(o, patience, func(ctx context.Context, o *op) error {
		_, err := guarded(ctx, h, o, clientv3.OpPut(o.Key, o.Value))
		return err
	})
}

func (w *worker) read(h *lock.Hold, key string) error {
	return w.do(w.begin(read, key, h.Token()), patience, func(ctx context.Context, o *op) error {
		resp, err := guarded(ctx, h, o, clientv3.OpGet(o.Key))
		if err == nil {
			o.Value = text((*clientv3.GetResponse)(resp.Responses[0].GetResponseRange()))
		}
		return err
	})
}

func guarded(ctx context.Context, h *lock.Hold, o *op, do clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, err := h.Txn(ctx).Then(do).Commit()
	if err != nil {
		return nil, err
	}
	o.Revision = resp.Header.Revision
	if !resp.Succeeded {
		return nil, errRefused
	}
	return resp, nil
}

// peek reads the register without the lock.
func (w *worker) peek() {
	_ = w.do(w.begin(read, w.register(), 0), patience, func(ctx context.Context, o *op) error {
		resp, err := w.cli.Get(ctx, o.Key)
		if err == nil {
			o.Revision, o.Value = resp.Header.Revision, text(resp)
		}
		return err
	})
}

// incrementOpenly is one hold in the unfenced arm: it reads, looks whether it still holds the lock,
// and writes. Between the two it waits for an order, so that the driver can stop it there.
func (w *worker) incrementOpenly() {
	h := w.acquire(openCounter)
	if h == nil {
		return
	}
	var old string
	err := w.do(w.begin(read, openCounter, 0), patience, func(ctx context.Context, o *op) error {
		resp, err := w.cli.Get(ctx, o.Key)
		if err != nil {
			return err
		}
		old = text(resp)
		o.Revision, o.Value = resp.Header.Revision, old
		return h.Err()
	})
	if err == nil {
		if _, told := <-w.orders; told {
			w.incrementUnguarded(old, h.Token())
		}
	}
	_ = w.do(w.begin(release, h.Key(), h.Token()), wait, func(ctx context.Context, _ *op) error { return h.Release(ctx) })
}

func (w *worker) incrementUnguarded(old string, token int64) {
	o := w.begin(increment, openCounter, token)
	o.Value = w.successor(o, old)
	_ = w.do(o, patience, func(ctx context.Context, o *op) error {
		resp, err := w.cli.Put(ctx, o.Key, o.Value)
		if err == nil {
			o.Revision = resp.Header.Revision
		}
		return err
	})
}
