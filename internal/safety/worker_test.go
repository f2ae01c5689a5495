package safety_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/lock"
)

// workerEnv makes this test binary a worker, and holds its job.
const workerEnv = "ETCDKIT_TEST_SAFETY_WORKER"

// ttl is etcd's minimum.
const ttl = 2 * time.Second

const (
	patience = 15 * time.Second // with one request, longer than a pause
	wait     = time.Minute      // for the lock
	// span is how many revisions a register is used for. Some 200 operations on it pass meanwhile.
	span = 320
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

// worker says what it does on stdout.
type worker struct {
	job
	cli   *clientv3.Client
	mutex *lock.Mutex
	rand  *rand.Rand
	seen  int64 // the last revision

	orders  chan struct{} // to write; closed when there is an order to end
	ended   atomic.Bool
	holding sync.WaitGroup

	mu   sync.Mutex
	n    int
	out  *json.Encoder
	sent *pb.TxnRequest // the last Commit
	copy *pb.TxnRequest // of an acknowledged Commit, to be sent once more
}

func runWorker() int {
	var j job
	if err := json.Unmarshal([]byte(os.Getenv(workerEnv)), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := &worker{job: j, rand: rand.New(rand.NewPCG(j.Seed, 0)), orders: make(chan struct{}), out: json.NewEncoder(os.Stdout)}
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
	name, turn := lockName, (*worker).turn
	if j.Arm == unfenced {
		name, turn = openLock, (*worker).incrementOpenly
	}
	w.mutex = lock.New(w.cli, name, &lock.Options{TTL: ttl})
	go w.listen() // as long as the process
	for !w.ended.Load() {
		turn(w)
	}
	err = w.mutex.Close()
	w.holding.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
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
		os.Exit(3) // nobody listens
	}
}

// do carries an operation out and says so before and after.
func (w *worker) do(o op, most time.Duration, f func(context.Context, *op) error) error {
	o.Call, o.Outcome = now(), info
	w.say(o)
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	err := f(ctx, &o)
	o.Return, o.Outcome = now(), outcome(o, err)
	if err != nil {
		o.Error = err.Error()
	}
	w.seen = max(w.seen, o.Revision)
	w.say(o)
	return err
}

var errRefused = errors.New("refused by etcd: not the holder any longer")

// outcome takes the documentation of package lock at its word.
func outcome(o op, err error) string {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, lock.ErrUnknown):
		return info
	case errors.Is(err, lock.ErrLost), errors.Is(err, errRefused):
		return fail
	case o.Key == counterKey && o.Op == increment: // a Commit
		return fail
	}
	return info
}
