package lock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/lock"
)

const (
	// workerEnv makes this test binary a process that acquires the lock of a name at endpoints and
	// says so, and that it waits if it does; on a line of its stdin it commits a write, or begins to
	// write under its guard until that is refused; and it says when its hold is over. It is NAME@TTL@ENDPOINTS.
	workerEnv = "ETCDKIT_TEST_LOCK"
	workerTTL = 2 * time.Second
	// runnerEnv makes it one that calls Every: it is NAME@PERIOD@ENDPOINTS.
	runnerEnv = "ETCDKIT_TEST_EVERY"
)

func work(job string) int {
	name, lasts, endpoints, err := parseJob(job)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var held atomic.Bool // a hold that lasts is watched, too
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{onWatch(sync.OnceFunc(func() {
			if !held.Load() {
				fmt.Println("waits")
			}
		}))},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	h, err := lock.New(cli, name, &lock.Options{TTL: lasts}).Acquire(context.Background())
	if err != nil {
		fmt.Println("lost:", errors.Is(err, lock.ErrLost))
		return 0
	}
	held.Store(true)
	fmt.Println("held:", h.Token())
	go func() { // ends with the process
		<-h.Done()
		fmt.Println("done:", errors.Is(h.Err(), lock.ErrLost))
	}()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "write" {
			go func() { // ends with the process
				for writes := 0; ; writes++ {
					if !fencedWrite(context.Background(), h, name+"-written") {
						fmt.Println("refused")
						return
					}
					if writes == 10 {
						fmt.Println("writes")
					}
				}
			}()
			continue
		}
		_, err := h.Commit(context.Background(), clientv3.OpPut(name+"-written", "by "+strconv.FormatInt(h.Token(), 10)))
		fmt.Println("committed:", err == nil, "lost:", errors.Is(err, lock.ErrLost))
	}
	return 0
}

// parseJob reads NAME@DURATION@ENDPOINTS.
func parseJob(job string) (name string, d time.Duration, endpoints []string, err error) {
	name, rest, _ := strings.Cut(job, "@")
	duration, addrs, _ := strings.Cut(rest, "@")
	d, err = time.ParseDuration(duration)
	return name, d, strings.Split(addrs, ","), err
}

// runEvery makes this test binary a process that calls Every with a period. Its function says so, and runs
// until a line of its stdin.
func runEvery(job string) int {
	name, period, endpoints, err := parseJob(job)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	run, err := lock.New(cli, name, &lock.Options{TTL: workerTTL}).Every(context.Background(), period, func(context.Context, *lock.Hold) error {
		fmt.Println("runs")
		bufio.NewScanner(os.Stdin).Scan()
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ran here:", run.Here)
	return 0
}

// fencedWrite writes the token of a hold under its guard, and is false when that was refused. A write
// without an answer is done again.
func fencedWrite(ctx context.Context, h *lock.Hold, key string) bool {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, time.Second)
		resp, err := h.Txn(try).Then(clientv3.OpPut(key, strconv.FormatInt(h.Token(), 10))).Commit()
		cancel()
		if err == nil {
			return resp.Succeeded
		}
	}
	return false
}

// onWatch has a client call f when it opens a stream for watches. A client that waits for a
// lock opens one once it knows that it is in the queue; its entry can be in etcd before.
func onWatch(f func()) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if strings.HasSuffix(method, "/Watch") {
			f()
		}
		return open(ctx, d, cc, method, opts...)
	})
}

// worker is such a process.
type worker struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines *bufio.Scanner
}

func startWorker(t *testing.T, name string, endpoints []string) *worker {
	t.Helper()
	return startWorkerFor(t, name, workerTTL, endpoints)
}

func startWorkerFor(t *testing.T, name string, ttl time.Duration, endpoints []string) *worker {
	t.Helper()
	return startProcess(t, workerEnv+"="+name+"@"+ttl.String()+"@"+strings.Join(endpoints, ","))
}

// startRunner starts a process that calls Every.
func startRunner(t *testing.T, name string, period time.Duration, endpoints []string) *worker {
	t.Helper()
	return startProcess(t, runnerEnv+"="+name+"@"+period.String()+"@"+strings.Join(endpoints, ","))
}

func startProcess(t *testing.T, job string) *worker {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: exec.Command(exe)}
	w.cmd.Env = append(os.Environ(), job)
	out, e1 := w.cmd.StdoutPipe()
	in, e2 := w.cmd.StdinPipe()
	if err := errors.Join(e1, e2, w.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	w.stdin, w.lines = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it may be dead already
		_ = w.cmd.Wait()         // killed, it says
	})
	return w
}

func (w *worker) says(t *testing.T, want string) string {
	t.Helper()
	if !w.lines.Scan() {
		t.Fatalf("the worker ended, want %q", want)
	}
	rest, ok := strings.CutPrefix(w.lines.Text(), want)
	if !ok {
		t.Fatalf("the worker says %q, want %q", w.lines.Text(), want)
	}
	return rest
}

func (w *worker) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
