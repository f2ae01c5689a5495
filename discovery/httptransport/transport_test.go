package httptransport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

func TestTheHostOfTheURLIsTheService(t *testing.T) {
	s := newSite(t, nil)
	s.serve("a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/path" {
			http.Redirect(w, r, "http://"+r.Host+"/there?"+r.URL.RawQuery, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, r.Host+r.URL.String())
	})
	req := request(t, "GET", nil)
	req.URL.RawQuery = "q=1"
	was := *req.URL
	resp, err := s.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "web/there?q=1" {
		t.Errorf("the instance saw %q, %v; want the service as its host", b, err)
	}
	if got := resp.Request.URL.String(); got != "http://web/there?q=1" {
		t.Errorf("the response is of %s", got)
	}
	if *req.URL != was || req.Host != "web" {
		t.Errorf("the request became %v, %q", req.URL, req.Host)
	}
	req.Host = "other"
	if _, body, err := s.ask(req); body != "" || !errors.Is(err, discovery.ErrNone) { // the redirect leads there
		t.Errorf("with a Host of its own: %q, %v", body, err)
	}
}

func TestURLsThatNameNoServiceAreRefused(t *testing.T) {
	s := newSite(t, nil)
	for u, want := range map[string]error{
		"http://web:80/":         httptransport.ErrInvalid,
		"http://web:/":           httptransport.ErrInvalid,
		"http://[::1]/":          httptransport.ErrInvalid,
		"http:///path":           httptransport.ErrInvalid,
		"/path":                  httptransport.ErrInvalid,
		"ftp://web/":             httptransport.ErrInvalid,
		"http://amy:secret@web/": httptransport.ErrInvalid,
		"http://../":             registry.ErrInvalid,
		"http://unknown/":        discovery.ErrNone,
	} {
		var body closer
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{Method: "POST", URL: parsed, Header: http.Header{}, Body: &body}
		resp, err := s.RoundTrip(req.WithContext(bounded(t)))
		if resp != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, %v, want %v", u, resp, err, want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v: that tells the password", u, err)
		}
		if body.closed.Load() == 0 {
			t.Errorf("%s: the body was not closed", u)
		}
	}
}

// closer is a body that knows whether it was closed, and cannot be read then.
type closer struct {
	io.Reader
	closed atomic.Int32
}

func (c *closer) Read(p []byte) (int, error) {
	if c.closed.Load() > 0 {
		return 0, fs.ErrClosed
	}
	if c.Reader == nil {
		return 0, io.EOF
	}
	return c.Reader.Read(p)
}

func (c *closer) Close() error {
	c.closed.Add(1)
	return nil
}

func TestConcurrentFirstRequestsShareOneOpening(t *testing.T) {
	_, prefix := etcdtest.New(t)
	first, _ := etcdtest.New(t)
	var reads atomic.Int32
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: first.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if strings.HasSuffix(method, "/Range") {
					reads.Add(1)
				}
				return next(ctx, method, req, reply, cc, opts...)
			})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	s := siteAt(t, cli, prefix, nil)
	s.serve("a", says("a"))
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if code, body, err := s.get(); body != "a" {
				t.Errorf("got %d, %q, %v", code, body, err)
			}
		})
	}
	all.Wait()
	if n := reads.Load(); n < 1 || n > 10 {
		t.Errorf("100 first requests made %d reads of etcd, want those of one opening", n)
	}
}

func TestTheContextBoundsTheWaitForAListNotItsLife(t *testing.T) {
	member, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, "")
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	s := siteAt(t, cli, prefix, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err = s.ask(request(t, "GET", nil).WithContext(ctx))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), gate.Addr()) {
		t.Errorf("without etcd: %v, want the deadline and etcd's address", err)
	}
	gate.SetTarget(strings.TrimPrefix(member.Endpoints()[0], "http://"))
	s.serve("a", says("a"))
	s.until("a")
	if _, body, err := s.get(); body != "a" {
		t.Errorf("once etcd is there: %q, %v", body, err)
	}
}

func TestAnOpeningThatFailedIsTriedAgain(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	s := siteAt(t, etcdtest.User(t, c, root, "amy", ""), "/services/", nil)
	if _, _, err := s.get(); !errors.Is(err, mirror.ErrDenied) {
		t.Fatalf("without the right: %v, want ErrDenied", err)
	}
	if _, err := root.RoleGrantPermission(bounded(t), "amy", "/services/", "/services0", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	s.serve("a", says("a"))
	if _, body, err := s.get(); body != "a" {
		t.Errorf("with the right: %q, %v", body, err)
	}
}

func TestClosedIsClosedButForRequestsUnderWay(t *testing.T) {
	var lines lines
	s := newSite(t, &httptransport.Options{Base: lines.base()})
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.serve("a", func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-goOn
		hangUp(w, r)
	})
	s.until("a")
	var all sync.WaitGroup
	all.Go(func() {
		if _, body, err := s.get(); body != "b" {
			t.Errorf("a request under way: %q, %v; want it to go on, to b", body, err)
		}
	})
	<-begun
	b := s.serve("b", says("b")).Listener.Addr().String()
	s.until("a b")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	close(goOn)
	all.Wait()
	eventually(t, "no connection stays", func() bool { n, _, _ := lines.of(b); return n == 0 })
	if _, _, err := s.get(); !errors.Is(err, httptransport.ErrClosed) || !strings.Contains(err.Error(), `service "web"`) {
		t.Errorf("after Close: %v, want ErrClosed, and the service", err)
	}
	if v, err := s.View(bounded(t), "web"); v != nil || !errors.Is(err, httptransport.ErrClosed) {
		t.Errorf("a view after Close: %v, %v, want ErrClosed", v, err)
	}
}

func TestIdleConnectionsToInstancesThatLeftAreClosed(t *testing.T) {
	var lines lines
	s := newSite(t, &httptransport.Options{Base: lines.base()}) // idle ones stay for ever
	a := s.serve("a", says("a")).Listener.Addr().String()
	s.serve("b", says("b"))
	s.until("a b")
	for range 4 {
		if _, _, err := s.get(); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, _ := lines.of(a); n != 1 {
		t.Fatalf("void: %d connections to a, want an idle one", n)
	}
	if _, err := s.cli.Delete(bounded(t), s.prefix+"web/a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its connection is closed", func() bool { n, _, _ := lines.of(a); return n == 0 })
	if _, body, err := s.get(); body != "b" {
		t.Errorf("after that: %q, %v", body, err)
	}
}

func TestAnInstanceMaySwitchProtocols(t *testing.T) {
	s := newSite(t, nil)
	s.serve("a", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, rw) // until the client closes its half
	})
	req := request(t, "GET", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rw, ok := resp.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	if !ok {
		t.Fatalf("%s with a body of %T, want one to write to", resp.Status, resp.Body)
	}
	if _, err := io.WriteString(rw, "echo"); err != nil {
		t.Fatal(err)
	}
	if err := rw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rw); string(b) != "echo" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestABaseOfOnesOwnIsUsedAsItIs(t *testing.T) {
	base := &recorder{base: &http.Transport{}}
	defer base.base.CloseIdleConnections()
	s := newSite(t, &httptransport.Options{Base: base})
	s.dead("a")
	srv := s.serve("b", says("b"))
	s.until("a b")
	for range 4 {
		if _, body, err := s.ask(request(t, "POST", bytes.NewReader([]byte("x")))); body != "b" {
			t.Errorf("got %q, %v", body, err)
		}
	}
	if !base.saw(srv.Listener.Addr().String()) {
		t.Errorf("it was not asked for %s", srv.URL)
	}
}

type recorder struct {
	base *http.Transport
	mu   sync.Mutex
	seen []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.seen = append(r.seen, req.URL.Host)
	r.mu.Unlock()
	return r.base.RoundTrip(req)
}

func (r *recorder) saw(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.seen {
		if h == host {
			return true
		}
	}
	return false
}
