package matrix_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// workerEnv makes this test binary a process that opens all rows at an endpoint, and says what
// becomes of them.
const workerEnv = "ETCDKIT_TEST_MATRIX_WORKER"

// said is a line of the worker's.
type said struct {
	Row  string
	What string // "open", "told" or "works"
	Key  string
	Err  string
	Good bool // told: with the promised error; works: it does
}

func runWorker() int {
	endpoint, ttl := os.Getenv(workerEnv), shortTTL
	dial := func() *clientv3.Client {
		cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			panic(err)
		}
		return cli
	}
	other := dial()
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(s said, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			s.Err = err.Error()
		}
		_ = out.Encode(s) // the test may have ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var wg sync.WaitGroup
	handles := make([]*handle, len(rows()))
	for i, r := range rows() {
		p, _ := stopped.promised(r.name)
		wg.Go(func() {
			h, err := r.open(ctx, &place{cli: dial(), other: other, name: fmt.Sprint("stopped.", i), ttl: ttl})
			if err != nil {
				say(said{Row: r.name, What: "open"}, err)
				return
			}
			handles[i] = h
			key, err := h.key(ctx)
			say(said{Row: r.name, What: "open", Key: key, Good: err == nil}, err)
			go func() { // ends with the process
				<-h.done
				err := h.err()
				say(said{Row: r.name, What: "told", Good: p.err.is(err)}, err)
			}()
		})
	}
	wg.Wait()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); { // asks whether those that come back work
		for i, r := range rows() {
			if p, _ := stopped.promised(r.name); p.outcome == back && handles[i] != nil {
				wg.Go(func() {
					err := handles[i].works(ctx)
					say(said{Row: r.name, What: "works", Good: err == nil}, err)
				})
			}
		}
	}
	return 0
}

func TestAProcessThatStoodStillIsInformedWhenItGoesOn(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+cli.Endpoints()[0])
	cmd.Stderr = os.Stderr
	out, e1 := cmd.StdoutPipe()
	in, e2 := cmd.StdinPipe()
	if err := errors.Join(e1, e2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, it says
		_, _ = cli.Delete(context.Background(), "stopped.", clientv3.WithPrefix())
	})
	lines := make(chan said, 1000)
	go func() { // ends with the process
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var line said
			if json.Unmarshal(s.Bytes(), &line) == nil {
				lines <- line
			}
		}
	}()
	next := func() (said, bool) {
		select {
		case s, ok := <-lines:
			return s, ok
		case <-time.After(15 * time.Second):
			return said{}, false
		}
	}
	keys := make(map[string]string)
	for range rows() {
		s, ok := next()
		if !ok || s.What != "open" || !s.Good {
			t.Fatalf("the worker says %+v", s)
		}
		keys[s.Row] = s.Key
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waits := make(map[string]bool)
	for name, key := range keys {
		p, _ := stopped.promised(name)
		if p.outcome == ends || name == "Registration" || name == "Registrar" { // on a lease
			if err := until(bounded(t), func() error {
				if err := there(bounded(t), cli, key); !errors.Is(err, errGone) {
					return fmt.Errorf("%s: %w", name, errStillThere)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(name, "Waiter") || name == "Candidate" {
			waits[name] = true
		}
	}
	for i, r := range rows() { // their turn would come
		if waits[r.name] {
			if _, err := cli.Delete(bounded(t), blocker(fmt.Sprint("stopped.", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	since := time.Now()
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(in, "works?"); err != nil {
		t.Fatal(err)
	}
	result := make(map[string]said)
	after := make(map[string]time.Duration)
	for range keys {
		s, ok := next()
		if !ok {
			break
		}
		result[s.Row], after[s.Row] = s, time.Since(since)
	}
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			p, _ := stopped.promised(r.name)
			s, ok := result[r.name]
			switch {
			case p.not != "":
				t.Skip("does not apply: " + p.not)
			case !ok:
				t.Fatal("nothing is heard of it")
			case !s.Good:
				t.Errorf("%s: %q, want %s", s.What, s.Err, p.brief())
			}
			t.Logf("%s: %s", s.What, s.Err)
			inTime(t, s.What, after[r.name], p.within)
			(&watched{p: p, place: &place{other: cli}}).keyLeft(t, keys[r.name], since)
		})
	}
}

var errStillThere = errors.New("its key is still in etcd")
