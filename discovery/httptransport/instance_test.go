package httptransport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// instanceEnv makes this test binary an instance of the service web, as its value says: something
// to kill.
const instanceEnv = "ETCDKIT_TEST_INSTANCE"

type orders struct {
	Endpoints        []string
	Prefix, ID, Addr string
	TTL              time.Duration
}

func runInstance() int {
	var o orders
	err := json.Unmarshal([]byte(os.Getenv(instanceEnv)), &o)
	if err == nil {
		err = o.serve()
	}
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

// serve registers and serves until it is told to drain, and then to leave, or until the test ends. It
// says on its stdout what it was posted, before it answers.
func (o *orders) serve() error {
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if id := r.Header.Get("X-Request"); id != "" {
			fmt.Println("got", id)
		}
		if pause, err := time.ParseDuration(r.FormValue("pause")); err == nil {
			time.Sleep(pause)
		}
		fmt.Fprint(w, o.ID)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	cli, err := clientv3.New(clientv3.Config{Endpoints: o.Endpoints, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	reg, err := registry.Register(ctx, cli, registry.Instance{Service: "web", ID: o.ID, Addr: l.Addr().String()},
		&registry.Options{Prefix: o.Prefix, TTL: o.TTL, LeaveNotice: -1}) // the order to leave is one
	if err != nil {
		return err
	}
	fmt.Println("addr", l.Addr())
	told := bufio.NewReader(os.Stdin)
	await := func(order string) error {
		if line, err := told.ReadString('\n'); line != order+"\n" {
			return fmt.Errorf("told %q: %w", line, err) // the test has ended
		}
		return nil
	}
	if err := await("drain"); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(context.Background(), within)
	defer cancel()
	return reg.Leave(ctx, func(ctx context.Context) error {
		if err := await("leave"); err != nil {
			return err
		}
		if err := srv.Shutdown(ctx); err != nil {
			return err
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// instance is a process that serves.
type instance struct {
	t     *testing.T
	id    string
	addr  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines sync.WaitGroup
	once  sync.Once
	end   error

	mu  sync.Mutex
	got map[string]int // what it was posted, how often
	bad []string       // what else it said
}

// start starts an instance of the site's service, and returns when it is registered.
func (s *site) start(t *testing.T, id string, ttl time.Duration) *instance {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := etcdtest.Addr(t) // nothing else listens there when it has been killed
	o, err := json.Marshal(orders{s.cli.Endpoints(), s.prefix, id, addr, ttl})
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, id: id, cmd: exec.Command(exe), got: make(map[string]int)}
	i.cmd.Env = append(os.Environ(), instanceEnv+"="+string(o))
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if i.stdin, err = i.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = i.cmd.Process.Kill() // unless it has ended
		_ = i.wait()
	})
	r := bufio.NewScanner(out)
	if !r.Scan() || !strings.HasPrefix(r.Text(), "addr ") {
		t.Fatalf("instance %s said %q, %v", id, r.Text(), r.Err())
	}
	i.addr = strings.TrimPrefix(r.Text(), "addr ")
	i.lines.Go(func() { // ends with the process
		for r.Scan() {
			i.mu.Lock()
			if n, ok := strings.CutPrefix(r.Text(), "got "); ok {
				i.got[n]++
			} else {
				i.bad = append(i.bad, r.Text())
			}
			i.mu.Unlock()
		}
	})
	return i
}

// wait waits for the process's end, after all that it said was read.
func (i *instance) wait() error {
	i.once.Do(func() {
		i.lines.Wait()
		i.end = i.cmd.Wait()
	})
	return i.end
}

func (i *instance) signal(sig os.Signal) {
	i.t.Helper()
	if err := i.cmd.Process.Signal(sig); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) tell(order string) {
	i.t.Helper()
	if _, err := io.WriteString(i.stdin, order+"\n"); err != nil {
		i.t.Fatal(err)
	}
}

// leave has an instance that drains shut down and withdraw.
func (i *instance) leave() {
	i.t.Helper()
	i.tell("leave")
	if err := i.wait(); err != nil || len(i.bad) > 0 {
		i.t.Fatalf("instance %s: %v, it said %q", i.id, err, i.bad)
	}
}
