package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// memberArg is the first argument of a process that was started to be a member; the member's
// name follows, to be seen in ps. An argument, because a program may clear its
// environment before it gets to RunMember, and would then start members without end.
const memberArg = "etcdkit-member"

// canRunMembers is set by RunMember: otherwise this program, executed again as a member, would run its main
// again.
var canRunMembers atomic.Bool

// RunMember makes a program able to run members as processes of their own: the program is
// executed again, and this call, which must be the first thing its main (or TestMain) does,
// becomes the member and never returns. In the first process it returns at once.
func RunMember() {
	if len(os.Args) < 2 || os.Args[1] != memberArg {
		canRunMembers.Store(true)
		return
	}
	os.Exit(runMember(os.Stdin, os.Stdout, os.Stderr))
}

// What the parent and the member send each other, one JSON object a line. The spec is the first line on
// stdin, and orders follow. The end of stdin means that the parent has ended, and the member ends, too.
// Messages go to stdout.
type (
	order struct {
		MoveTo uint64 `json:"move_to,omitempty"`
		Stop   bool   `json:"stop,omitempty"` // end cleanly, without handing leadership over
	}
	message struct {
		Bound  bool    `json:"bound,omitempty"`
		Report *report `json:"report,omitempty"`
		Answer *answer `json:"answer,omitempty"`
		Failed string  `json:"failed,omitempty"`
	}
	answer struct {
		Err string `json:"err,omitempty"`
	}
)

// parent is the process that started this member.
type parent struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (p *parent) send(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.enc.Encode(m) // the end of stdin says that the parent has ended
}

// orderTimeout bounds what a member does for its parent.
const orderTimeout = 10 * time.Second

func runMember(stdin io.Reader, stdout, stderr io.Writer) int {
	// Ctrl-C is for the parent, and a hangup too: its process group is orphaned when the parent
	// is killed, and what ends the member then is the end of stdin.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)

	to := &parent{enc: json.NewEncoder(stdout)}
	in := bufio.NewReader(stdin)
	first, err := in.ReadBytes('\n')
	if err != nil {
		return 1
	}
	var s spec
	if err := json.Unmarshal(first, &s); err != nil {
		to.send(message{Failed: err.Error()})
		return 1
	}
	orders, stopNow, stop := make(chan order, 1), make(chan struct{}), make(chan struct{})
	go readOrders(in, to, orders, stopNow) // ends the process with the parent
	var noHandOver atomic.Bool
	go func() { // lives as long as the process
		select {
		case <-term:
		case <-stopNow:
			noHandOver.Store(true)
		}
		close(stop)
	}()
	srv, err := startServer(s, stderr, func() { to.send(message{Bound: true}) }, stop)
	if errors.Is(err, context.Canceled) {
		return 0
	}
	if err != nil {
		to.send(message{Failed: err.Error()})
		return 1
	}
	go func() { // lives as long as the process
		for o := range orders {
			to.send(message{Answer: srv.execute(o)})
		}
	}()
	srv.watch(stop, func(r report) { to.send(message{Report: &r}) })
	srv.close(!noHandOver.Load())
	return 0
}

// readOrders passes orders on. It never waits for one to be carried out: the end of the parent, and an order
// to stop, must always be seen.
func readOrders(in *bufio.Reader, to *parent, orders chan<- order, stopNow chan<- struct{}) {
	dec := json.NewDecoder(in)
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			os.Exit(3) // the parent has ended; etcd's data survives this as it survives kill -9
		}
		if o.Stop {
			if stopNow != nil {
				close(stopNow)
			}
			stopNow = nil
			continue
		}
		select {
		case orders <- o:
		default:
			to.send(message{Answer: &answer{Err: "it is still carrying out earlier orders; try again"}})
		}
	}
}

func (s *server) execute(o order) *answer {
	ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
	defer cancel()
	if err := s.move(ctx, o.MoveTo); err != nil {
		return &answer{Err: err.Error()}
	}
	return &answer{}
}
