package devctl

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/devdir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

// shortDir is a temporary directory whose sockets' paths are short enough.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// controlled serves the control socket of a small cluster and returns its path.
func controlled(t *testing.T) (socket string, c *cluster.Cluster) {
	t.Helper()
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	c = etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	stop, err := Serve(c, func(*cluster.Change) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return filepath.Join(devdir.Path(), portOf(c.Endpoints())+devdir.SocketExt), c
}

// endless is a body that never ends, and counts what was read of it.
type endless struct {
	read   atomic.Int64
	once   sync.Once
	closed chan struct{} // once the HTTP library has done with it
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	e.read.Add(int64(len(b)))
	return len(b), nil
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func TestTheControlSocketReadsNoMoreThanARequestNeeds(t *testing.T) {
	socket, _ := controlled(t)
	sent := &endless{closed: make(chan struct{})}
	body := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(`{"verb":"`), io.LimitReader(sent, 300<<20)), sent}
	var got reply
	err := (&Client{socket}).call(t.Context(), http.MethodPost, "/fault", body, &got)
	if err == nil && !strings.Contains(got.Error, "too large") {
		t.Errorf("got %+v, want that the request is too large", got)
	}
	<-sent.closed                          // an answer may come while the request is still being sent
	if n := sent.read.Load(); n > 16<<20 { // what the kernel and the HTTP library hold is far less
		t.Errorf("%d bytes were taken of a request that may have %d", n, mostRequest)
	}
}

func TestTheControlSocketHangsUpOnIdleClients(t *testing.T) {
	socket, _ := controlled(t)
	for what, say := range map[string]string{
		"after an answer":           "GET /status HTTP/1.1\r\nHost: etcdkit\r\n\r\n",
		"in the middle of its body": "POST /fault HTTP/1.1\r\nHost: etcdkit\r\nContent-Length: 100\r\n\r\n{",
	} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(6 * statusTimeout))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: %v, want an end of the connection", what, err)
		}
	}
}

// silentAt puts a control socket that gives no answer into the directory of control sockets.
func silentAt(t *testing.T, port string) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(devdir.Path(), port+devdir.SocketExt))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { // ends with the test
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
}

func TestEndpointsMeanTheirOwnDevClusterAndNoOther(t *testing.T) {
	socket, c := controlled(t)
	silentAt(t, "1")
	if err := os.WriteFile(filepath.Join(devdir.Path(), "1"+devdir.EndpointsExt), []byte("127.0.0.1:1,127.0.0.1:2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, endpoints := range [][]string{nil, c.Endpoints(), {"http://" + c.Endpoints()[0]}} {
		if k, err := Find(t.Context(), 0, endpoints); err != nil || k.socket != socket {
			t.Errorf("%v: %v, %v, want the cluster that answers", endpoints, k, err)
		}
	}
	for endpoint, want := range map[string]string{
		"127.0.0.1:1": "the dev cluster on port 1 does not answer", "localhost:2": "the dev cluster on port 1 does not answer",
		"10.0.0.1:3": "no dev cluster is at 10.0.0.1:3, which the environment names; choose one with --cluster PORT",
	} {
		if _, err := Find(t.Context(), 0, []string{endpoint}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want that %s", endpoint, err, want)
		}
	}
}

// A cluster of dev run is for its command alone: it has written no file with its endpoints.
func TestAStoppedDevRunOnTheUsualPortIsNotFound(t *testing.T) {
	controlled(t)
	silentAt(t, devdir.DefaultPort)
	if found, err := FindEndpoints(); err != nil || found != nil {
		t.Errorf("got %v, %v, want none", found, err)
	}
}

// The directory of the control sockets is removed by a cluster that leaves it empty, also when another
// one has just made it.
func TestControlSocketsThatComeAndGoAtOnceDoNotDisturbOneAnother(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				ln, remove, err := listenControl(strconv.Itoa(i))
				if err != nil {
					t.Errorf("%d, try %d: %v", i, j, err)
					return
				}
				remove()
				ln.Close()
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(os.Getenv("XDG_RUNTIME_DIR")); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}
