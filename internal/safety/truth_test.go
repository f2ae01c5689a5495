package safety_test

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// event is a change in etcd.
type event struct {
	Revision int64  `json:"revision"`
	Key      string `json:"key"`
	Value    string `json:"value,omitempty"`
	Created  int64  `json:"created,omitempty"` // 0: it is a deletion
}

// truth is a watch of everything below prefix.
type truth struct {
	cli    *clientv3.Client
	stop   context.CancelFunc
	done   chan struct{}
	events []event // to be read once done is closed
	err    error
}

// endKey is written last.
const endKey = prefix + "end"

func watchTruth(ctx context.Context, cli *clientv3.Client) (*truth, error) {
	life, stop := context.WithCancel(ctx)
	w := &truth{cli: cli, stop: stop, done: make(chan struct{})}
	watch := cli.Watch(life, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-watch; !first.Created {
		stop()
		return nil, fmt.Errorf("watch %s: %w", prefix, first.Err())
	}
	go func() { // ends with endKey, or with stop
		defer close(w.done)
		w.err = w.follow(watch)
	}()
	return w, nil
}

func (w *truth) follow(watch clientv3.WatchChan) error {
	for resp := range watch {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, ev := range resp.Events {
			e := event{Revision: ev.Kv.ModRevision, Key: string(ev.Kv.Key), Value: string(ev.Kv.Value), Created: ev.Kv.CreateRevision}
			if e.Key == endKey {
				return nil
			}
			w.events = append(w.events, e)
		}
	}
	return fmt.Errorf("the watch of %s ended", prefix)
}

// finish returns all events, and checks that none is missing: a key's version counts its writes.
func (w *truth) finish(ctx context.Context) ([]event, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if _, err := w.cli.Put(ctx, endKey, ""); err != nil {
		return nil, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("the watch of %s does not come to its end: %w", prefix, ctx.Err())
	}
	if w.err != nil {
		return nil, w.err
	}
	seen := make(map[string]int64)
	for _, e := range w.events {
		if seen[e.Key]++; e.Created == 0 {
			delete(seen, e.Key)
		}
	}
	resp, err := w.cli.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range resp.Kvs {
		if key := string(kv.Key); key != endKey && seen[key] != kv.Version {
			return nil, fmt.Errorf("the watch has %d writes of %s, etcd %d", seen[key], key, kv.Version)
		}
	}
	return w.events, nil
}

func (w *truth) end() {
	w.stop()
	<-w.done
}
