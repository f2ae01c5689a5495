package safety_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Outcomes of operations.
const (
	ok   = "ok"
	fail = "fail" // it certainly did not happen, and will not
	info = "info" // it may have happened, or may yet
)

// Operations of a worker.
const (
	acquire   = "acquire" // Campaign and Run are, too
	release   = "release" // Resign is, too
	lost      = "lost"    // not an operation: the hold's Done was closed
	read      = "read"
	write     = "write"
	late      = "late"      // a write that comes once more
	increment = "increment" // of a counter; of a guarded one with a release
	commit    = "commit"    // a write with a release
	proclaim  = "proclaim"
	current   = "current" // the leader, by a call of Leader
	observe   = "observe" // the leader, by Observe
	ready     = "ready"   // not an operation: a worker of the unfenced arm has read
)

// op is an operation as its worker saw it. A worker says it twice: when it begins, as info, and
// when it ends.
type op struct {
	Worker   string `json:"worker"`
	N        int    `json:"n"` // of this worker's
	Op       string `json:"op"`
	Key      string `json:"key,omitempty"`
	Token    int64  `json:"token,omitempty"` // 0: under none
	Call     int64  `json:"call"`            // CLOCK_MONOTONIC, in ns
	Return   int64  `json:"return,omitempty"`
	Outcome  string `json:"outcome"`
	Revision int64  `json:"revision,omitempty"` // of etcd, when it happened
	Value    string `json:"value,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (o op) of() subject { return of(o.Key) }

// writes tells whether it is to change something, besides the queue.
func (o op) writes() bool {
	return o.Op == write || o.Op == increment || o.Op == commit || o.Op == proclaim
}

// refused tells whether etcd did not accept the guard any longer.
func (o op) refused() bool { return o.Outcome == fail && (o.Op == read || o.Op == write) }

// ends tells whether a hold is given up with it.
func (o op) ends() bool {
	return o.Op == release || o.Op == commit || o.Op == increment && !o.of().isOpen()
}

func (o op) String() string {
	return fmt.Sprintf("%s's operation %d: %s %s, token %d, %s, revision %d, value %q", o.Worker, o.N, o.Op, o.Key, o.Token, o.Outcome, o.Revision, o.Value)
}

// mark is what a worker writes: no other write has the same text.
type mark struct {
	count  int // of a counter
	worker string
	n      int // of the worker's operations
	token  int64
}

func (m mark) String() string { return fmt.Sprintf("%d %s.%d %d", m.count, m.worker, m.n, m.token) }

func parseMark(text string) (m mark, err error) {
	if text == "" {
		return mark{}, nil // nothing was written yet
	}
	who := ""
	if _, err := fmt.Sscanf(text, "%d %s %d", &m.count, &who, &m.token); err != nil {
		return m, fmt.Errorf("%q is not what a worker writes: %w", text, err)
	}
	worker, n, _ := strings.Cut(who, ".")
	m.worker = worker
	m.n, err = strconv.Atoi(n)
	return m, err
}

// now is a time that all processes of this machine share.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // there is such a clock
	}
	return ts.Nano()
}

// fault is something that was done to the system.
type fault struct {
	Kind   string `json:"fault"`
	On     string `json:"on"`
	Begin  int64  `json:"begin"`
	End    int64  `json:"end"`
	Effect string `json:"effect"` // "": none was seen, and the run is void
}

// Kinds of faults.
const (
	pauseWorker = "SIGSTOP worker"
	killWorker  = "SIGKILL worker"
	killLeader  = "SIGKILL etcd's leader"
)

func (f fault) lasted() time.Duration { return time.Duration(f.End - f.Begin) }

// history collects what the workers say and what is done to them.
type history struct {
	mu      sync.Mutex
	ops     []op
	at      map[string]int // index in ops by worker and number
	faults  []fault
	done    map[subject]int // writes that were acknowledged
	changed chan struct{}   // closed and replaced with each operation
}

func newHistory() *history {
	return &history{at: make(map[string]int), done: make(map[subject]int), changed: make(chan struct{})}
}

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := fmt.Sprint(o.Worker, ".", o.N)
	if i, known := h.at[id]; known {
		h.ops[i] = o
	} else {
		h.at[id] = len(h.ops)
		h.ops = append(h.ops, o)
	}
	if o.writes() && o.Outcome == ok {
		h.done[o.of()]++
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *history) addFault(f fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, f)
}

// all is what was said so far.
func (h *history) all() ([]op, []fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ops), slices.Clone(h.faults)
}

// until waits until something is so. f is called with h.mu held.
func (h *history) until(ctx context.Context, f func() bool) error {
	for {
		h.mu.Lock()
		changed, is := h.changed, f()
		h.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// acknowledged is how many writes were, of these subjects together. h.mu is held.
func (h *history) acknowledged(of ...subject) (n int) {
	for _, s := range of {
		n += h.done[s]
	}
	return n
}

// more waits until so many more were.
func (h *history) more(ctx context.Context, n int, of ...subject) error {
	h.mu.Lock()
	want := h.acknowledged(of...) + n
	h.mu.Unlock()
	return h.until(ctx, func() bool { return h.acknowledged(of...) >= want })
}

// leaves tells whether a hold's end was asked for. h.mu is held.
func (h *history) leaves(s subject, token int64) bool {
	return slices.ContainsFunc(h.ops, func(o op) bool { return o.Token == token && o.of() == s && o.ends() })
}

// refused waits until etcd has refused something under a token, or its hold's end is asked for.
func (h *history) refused(ctx context.Context, s subject, token int64) (refused bool, err error) {
	err = h.until(ctx, func() bool {
		refused = slices.ContainsFunc(h.ops, func(o op) bool { return o.Token == token && o.of() == s && o.refused() })
		return refused || h.leaves(s, token)
	})
	return refused, err
}
