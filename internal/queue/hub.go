package queue

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"time"
	"weak"

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

	hedgeAfter = 400 * time.Millisecond // a request without an answer is sent again
	mostHedges = 16                     // requests of a client that are sent again at a time: not all, when etcd is slow
	mostLooks  = 8                      // reads of a client, at a time, after watches that ended
	mostEnter  = 16                     // entering transactions of a client at a time for one name: each costs a walk of the queue
)

// hub is what all queues of one client share: the watches, one check that they are alive, and
// bounds for what is asked when they are not.
type hub struct {
	cli    *clientv3.Client
	looks  chan struct{} // a place is taken by each read after a watch has ended
	hedges chan struct{} // and by each request that is sent again

	mu       sync.Mutex // it also guards the entries, views and other fields of all the client's queues
	views    map[string]*view
	watches  map[*watch]struct{}
	stream   int           // on which watches are opened
	checking chan struct{} // check runs until it is closed; nil: it does not
	silence  time.Duration
	opened   time.Time // when etcd last confirmed a watch
}

// hubs has the hub of each client that a queue stands on. Nothing else keeps a hub.
var hubs = struct {
	mu sync.Mutex
	of map[*clientv3.Client]weak.Pointer[hub]
}{of: make(map[*clientv3.Client]weak.Pointer[hub])}

// hubOf returns the one hub of a client.
func hubOf(cli *clientv3.Client) *hub {
	hubs.mu.Lock()
	defer hubs.mu.Unlock()
	if h := hubs.of[cli].Value(); h != nil {
		return h
	}
	h := &hub{
		cli: cli, looks: make(chan struct{}, mostLooks), hedges: make(chan struct{}, mostHedges),
		views: make(map[string]*view), watches: make(map[*watch]struct{}), silence: silence,
	}
	hubs.of[cli] = weak.Make(h)
	runtime.AddCleanup(h, func(cli *clientv3.Client) {
		hubs.mu.Lock()
		defer hubs.mu.Unlock()
		if hubs.of[cli].Value() == nil { // and not the next one
			delete(hubs.of, cli)
		}
	}, cli)
	return h
}

// gone tells whether the client was closed.
func (h *hub) gone() bool { return h.cli.Ctx().Err() != nil }

// watch is one watch of a client.
type watch struct {
	hub  *hub
	view *view // whose it is
	ctx  context.Context
	stop context.CancelFunc
	open chan struct{} // closed when etcd has confirmed it
	done chan struct{} // closed when it hears no more

	// Guarded by hub.mu.
	from   int64 // what happens after this revision is heard
	stream int
	heard  time.Time // when it was opened, or the last message
}

// opened tells whether etcd has confirmed the watch.
func (w *watch) opened() bool {
	select {
	case <-w.open:
		return true
	default:
		return false
	}
}

// ended tells whether the watch hears no more, or soon does not.
func (w *watch) ended() bool { return w.ctx.Err() != nil }

// watch opens a watch. hear gets each answer, and end is called once when there will be none any
// more, both with h.mu held. It does not wait for etcd. h.mu is held.
func (h *hub) watch(v *view, key string, hear func(clientv3.WatchResponse), end func(), opts ...clientv3.OpOption) *watch {
	w := &watch{hub: h, view: v, open: make(chan struct{}), done: make(chan struct{}), stream: h.stream, heard: time.Now()}
	w.ctx, w.stop = context.WithCancel(onStream(h.cli.Ctx(), h.stream))
	h.watches[w] = struct{}{}
	go h.listen(w, key, hear, end, append(opts, clientv3.WithCreatedNotify())) // ends with w.ctx, or the watch
	time.AfterFunc(h.silence, func() { h.judgeOpening(w) })
	if h.checking == nil {
		h.checking = make(chan struct{})
		go h.check(h.checking) // ends when there is no watch any more
	}
	return w
}

// onStream is the context of a watch. All of a client's whose metadata is the same share a stream;
// the queues' own has no others on it, which might keep it from answering.
func onStream(ctx context.Context, stream int) context.Context {
	return metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "etcdkit-queue", strconv.Itoa(stream))
}

func (h *hub) listen(w *watch, key string, hear func(clientv3.WatchResponse), end func(), opts []clientv3.OpOption) {
	defer w.stop()
	answers := h.cli.Watch(w.ctx, key, opts...)
	for {
		resp, ok := clientv3.WatchResponse{}, false
		select {
		case resp, ok = <-answers:
		case <-w.ctx.Done():
		}
		if !ok {
			break
		}
		h.mu.Lock()
		w.heard = time.Now()
		h.silence = silence
		if resp.Created && !resp.Canceled && !w.opened() {
			w.from, h.opened = resp.Header.Revision, w.heard
			close(w.open)
		}
		hear(resp)
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w.stop() // before end, which may ask
	delete(h.watches, w)
	close(w.done)
	end()
	if len(h.watches) == 0 && h.checking != nil {
		close(h.checking)
		h.checking = nil
	}
}

// check asks the members behind the watches, from time to time, whether they are there, and ends
// watches that stay silent: their users open others, on a stream of their own, which leads to
// another member.
func (h *hub) check(stop <-chan struct{}) {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-stop:
			return
		}
		h.mu.Lock()
		streams := make(map[int]bool)
		for w := range h.watches {
			if w.opened() {
				streams[w.stream] = true
			}
		}
		wait := h.silence
		h.mu.Unlock()
		asked := time.Now()
		for stream := range streams {
			go func() { // ends soon
				ctx, cancel := context.WithTimeout(onStream(h.cli.Ctx(), stream), wait)
				defer cancel()
				_ = h.cli.RequestProgress(ctx) // an error ends the stream, and its watches say so
			}()
		}
		time.AfterFunc(wait, func() { h.judge(asked) })
	}
}

// judge ends the watches that have said nothing since they were asked.
func (h *hub) judge(asked time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watches {
		if w.opened() && w.heard.Before(asked) {
			h.silent(w)
		}
	}
}

// judgeOpening ends a watch that was not confirmed, unless others were meanwhile: they are
// confirmed one after the other.
func (h *hub) judgeOpening(w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.opened() || w.ended() {
		return
	}
	if since := time.Since(h.opened); since < h.silence && w.stream == h.stream {
		time.AfterFunc(h.silence-since, func() { h.judgeOpening(w) })
		return
	}
	h.silent(w)
}

// silent ends a watch. h.mu is held.
func (h *hub) silent(w *watch) {
	if w.ended() {
		return
	}
	w.stop()
	if w.stream == h.stream { // the first one that is noticed
		h.stream++
		h.silence = min(2*h.silence, mostSilence)
	}
}

// hedge makes a request, and makes it again while it is not answered, as another member may
// answer. The first answer counts; more tells that others may be carried out later. The request
// must be one that does no harm when it is carried out twice.
func hedge[T any](ctx context.Context, h *hub, request func(context.Context) (T, error)) (answer T, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	type result struct {
		answer T
		err    error
	}
	results := make(chan result, int(tryTimeout/hedgeAfter)+1)
	send := func() { // ends with ctx
		a, err := request(ctx)
		results <- result{a, err}
	}
	go send()
	again := time.NewTicker(hedgeAfter)
	defer again.Stop()
	unsure := false // a try failed that may have been carried out, or may still be
	for out := 1; ; {
		select {
		case r := <-results:
			if out--; r.err == nil || out == 0 {
				return r.answer, out > 0 || unsure, r.err
			}
			unsure = unsure || !Refused(r.err)
		case <-again.C:
			select {
			case h.hedges <- struct{}{}:
				out++
				go func() {
					defer func() { <-h.hedges }()
					send()
				}()
			default:
			}
		}
	}
}
