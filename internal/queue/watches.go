package queue

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

const (
	// askEvery is how often a client asks the members that serve its watches to say that they do.
	// It is one message on an open stream for all queues of the client, and none while nothing
	// waits and nothing is held for long.
	askEvery = 2 * time.Second
	// silence is how long a watch may be silent after it was opened or asked. It doubles, to
	// mostSilence, while nothing is heard from any member.
	silence     = 1500 * time.Millisecond
	mostSilence = 8 * time.Second
)

// watches are all watches of one client's queues, and the check that their members are alive.
type watches struct {
	cli *clientv3.Client

	mu        sync.Mutex
	open      map[*watch]struct{} // those that have not ended
	stream    int                 // on which the next one is opened
	checking  chan struct{}       // check runs until it is closed; nil: it does not
	silence   time.Duration
	confirmed time.Time // when etcd last confirmed a watch
}

// watch is one watch of a client.
type watch struct {
	ctx    context.Context
	stop   context.CancelFunc
	stream int
	hear   func(clientv3.WatchResponse) // receives each answer
	end    func()                       // is called once, when no more answers come
	opened chan struct{}                // closed when etcd has confirmed it
	done   chan struct{}                // closed when it has ended, after end
	from   atomic.Int64                 // it reports what happens after this revision
	heard  time.Time                    // when it was started, or the last message; guarded by watches.mu
}

// isOpen tells whether etcd has confirmed the watch.
func (w *watch) isOpen() bool {
	select {
	case <-w.opened:
		return true
	default:
		return false
	}
}

// isEnding tells whether the watch reports no more, or soon does not.
func (w *watch) isEnding() bool { return w.ctx.Err() != nil }

// await waits until etcd has confirmed the watch.
func (w *watch) await(ctx context.Context) error {
	select {
	case <-w.opened:
	case <-w.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !w.isOpen() {
		return errNotOpened
	}
	return nil
}

// start opens a watch. hear and end are called without a lock. It does not wait for etcd.
func (ws *watches) start(key string, hear func(clientv3.WatchResponse), end func(), opts ...clientv3.OpOption) *watch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := &watch{hear: hear, end: end, opened: make(chan struct{}), done: make(chan struct{}), stream: ws.stream, heard: time.Now()}
	w.ctx, w.stop = context.WithCancel(onStream(ws.cli.Ctx(), w.stream))
	ws.open[w] = struct{}{}
	go ws.listen(w, key, append(opts, clientv3.WithCreatedNotify())) // ends with w.ctx, or the watch
	time.AfterFunc(ws.silence, func() { ws.closeUnopened(w) })
	if ws.checking == nil {
		ws.checking = make(chan struct{})
		go ws.check(ws.checking) // ends when there is no watch any more
	}
	return w
}

// onStream is the context of a watch. All of a client's whose metadata is the same share a stream;
// the queues' own has no others on it, which might keep it from answering.
func onStream(ctx context.Context, stream int) context.Context {
	return metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "etcdkit-queue", strconv.Itoa(stream))
}

func (ws *watches) listen(w *watch, key string, opts []clientv3.OpOption) {
	defer w.stop()
	answers := ws.cli.Watch(w.ctx, key, opts...)
	for {
		resp, ok := clientv3.WatchResponse{}, false
		select {
		case resp, ok = <-answers:
		case <-w.ctx.Done():
		}
		if !ok {
			break
		}
		opens := resp.Created && !resp.Canceled && !w.isOpen()
		ws.mu.Lock()
		w.heard = time.Now()
		ws.silence = silence
		if opens {
			ws.confirmed = w.heard
		}
		ws.mu.Unlock()
		if opens {
			w.from.Store(resp.Header.Revision)
			close(w.opened)
		}
		w.hear(resp)
	}
	w.stop() // before end, which may ask
	w.end()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.open, w)
	close(w.done)
	if len(ws.open) == 0 && ws.checking != nil {
		close(ws.checking)
		ws.checking = nil
	}
}

// check asks the members behind the watches, from time to time, whether they are there, and ends
// watches that stay silent: their users open others, on a stream of their own, which leads to
// another member.
func (ws *watches) check(stop <-chan struct{}) {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-stop:
			return
		}
		ws.mu.Lock()
		streams := make(map[int]bool)
		for w := range ws.open {
			if w.isOpen() && !w.isEnding() { // clientv3 would open a stream that nothing uses
				streams[w.stream] = true
			}
		}
		wait := ws.silence
		ws.mu.Unlock()
		asked := time.Now()
		for stream := range streams {
			go func() { // ends after wait at the latest
				ctx, cancel := context.WithTimeout(onStream(ws.cli.Ctx(), stream), wait)
				defer cancel()
				_ = ws.cli.RequestProgress(ctx) // an error ends the stream, and its watches say so
			}()
		}
		time.AfterFunc(wait, func() { ws.closeSilent(asked) })
	}
}

// closeSilent ends the watches that have said nothing since they were asked.
func (ws *watches) closeSilent(asked time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.open {
		if w.isOpen() && w.heard.Before(asked) {
			ws.close(w)
		}
	}
}

// closeUnopened ends a watch that was not confirmed, unless others were meanwhile: they are
// confirmed one after the other.
func (ws *watches) closeUnopened(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.isOpen() || w.isEnding() {
		return
	}
	if since := time.Since(ws.confirmed); since < ws.silence && w.stream == ws.stream {
		time.AfterFunc(ws.silence-since, func() { ws.closeUnopened(w) })
		return
	}
	ws.close(w)
}

// close ends a silent watch. The next ones are opened on another stream. mu is held.
func (ws *watches) close(w *watch) {
	if w.isEnding() {
		return
	}
	w.stop()
	if w.stream == ws.stream { // the first one that is noticed
		ws.stream++
		ws.silence = min(2*ws.silence, mostSilence)
	}
}
