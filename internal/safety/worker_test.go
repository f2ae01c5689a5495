package safety_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// workerEnv makes this test binary a worker, and holds its job.
const workerEnv = "ETCDKIT_TEST_SAFETY_WORKER"

// ttl is etcd's minimum.
const ttl = 2 * time.Second

const (
	patience = 15 * time.Second // with one request, longer than a pause
	wait     = time.Minute      // for a turn
)

// job is what a worker is told.
type job struct {
	Worker    string   `json:"worker"`
	Arm       string   `json:"arm"`
	Endpoints []string `json:"endpoints"`
	Seed      uint64   `json:"seed"`
}

// Arms.
const (
	fenced   = "fenced"
	unfenced = "unfenced"
)

// worker is a process. It says what it does on stdout.
type worker struct {
	job
	cli   *clientv3.Client
	hands map[subject]*hand

	orders  chan struct{} // to write; closed when there is an order to end
	ended   atomic.Bool
	holding sync.WaitGroup

	mu  sync.Mutex
	n   int
	out *json.Encoder
}

func runWorker() int {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(workerEnv)), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := &worker{job: j, orders: make(chan struct{}), out: json.NewEncoder(os.Stdout)}
	var err error
	w.cli, err = clientv3.New(clientv3.Config{
		Endpoints: j.Endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(w.remember)},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer w.cli.Close()
	go w.listen() // as long as the process
	keeper := lease.NewKeeper(w.cli, &lease.Options{TTL: ttl})
	if j.Arm == unfenced {
		w.careless(keeper)
	} else {
		w.careful(keeper)
	}
	err = keeper.Close()
	w.holding.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// careful works on all subjects side by side, each time with the guard. A stop of the process
// while it holds one thing is, as a rule, a stop while it waits for another.
func (w *worker) careful(keeper *lease.Keeper) {
	locks, shared := &lock.Options{Keeper: keeper}, &lock.SharedOptions{Keeper: keeper}
	m, rw, sem := lock.New(w.cli, mutex.name(), locks), lock.NewRW(w.cli, rwmutex.name(), shared), lock.NewSemaphore(w.cli, semaphore.name(), size, shared)
	el := election.New(w.cli, leadership.name(), &election.Options{Keeper: keeper})
	w.hands = w.handsOn(subjects)
	observing, end := context.WithCancel(context.Background())
	var working, watching sync.WaitGroup
	for s, turn := range map[subject]func(*hand){
		mutex:      func(h *hand) { h.mutexTurn(m) },
		rwmutex:    func(h *hand) { h.rwTurn(rw) },
		semaphore:  func(h *hand) { h.semaphoreTurn(sem) },
		leadership: func(h *hand) { h.electionTurn(el) },
	} {
		working.Go(func() {
			for !w.ended.Load() {
				turn(w.hands[s])
			}
		})
	}
	watching.Go(func() { w.observe(observing, el) })
	working.Wait()
	end()
	watching.Wait()
	if err := errors.Join(m.Close(), rw.Close(), sem.Close(), el.Close()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Orders of the driver, a line each.
const (
	orderWrite = "write" // to one that waits for it
	orderEnd   = "end"   // when what it does is done
)

func (w *worker) listen() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == orderWrite {
			w.orders <- struct{}{}
		} else if w.ended.CompareAndSwap(false, true) {
			close(w.orders)
		}
	}
	os.Exit(3) // the driver is gone
}

// begin numbers an operation. It has not begun yet: do says so.
func (w *worker) begin(what, key string, token int64) op {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return op{Worker: w.Worker, N: w.n, Op: what, Key: key, Token: token}
}

func (w *worker) say(o op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Encode(o); err != nil {
		os.Exit(3) // the driver has gone
	}
}

// tell says something that took no time.
func (w *worker) tell(o op) {
	o.Call, o.Outcome = now(), ok
	o.Return = o.Call
	w.say(o)
}

var errRefused = errors.New("refused by etcd: not the holder any longer")

// outcome takes the documentation of the packages at its word.
func outcome(o op, err error) string {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, lock.ErrUnknown):
		return info
	case errors.Is(err, lock.ErrLost), errors.Is(err, election.ErrLost), errors.Is(err, errRefused):
		return fail
	case o.ends() && o.writes(): // a Commit
		return fail
	}
	return info
}
