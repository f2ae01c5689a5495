package httptransport_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(instanceEnv) != "" {
		os.Exit(runInstance())
	}
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

// site is a service web, of servers in this process, and a client of it.
type site struct {
	t      testing.TB
	cli    *clientv3.Client
	prefix string
	*httptransport.Transport
	*http.Client
}

func newSite(t testing.TB, opts *httptransport.Options) *site {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	return siteAt(t, cli, prefix, opts)
}

func siteAt(t testing.TB, cli *clientv3.Client, prefix string, opts *httptransport.Options) *site {
	t.Helper()
	var o httptransport.Options
	if opts != nil {
		o = *opts
	}
	o.View.Prefix = prefix
	tr := httptransport.New(cli, &o)
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{t, cli, prefix, tr, &http.Client{Transport: tr, Timeout: within}}
}

// serve starts an instance.
func (s *site) serve(id string, h http.HandlerFunc) *httptest.Server {
	s.t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = quiet
	srv.Start()
	s.t.Cleanup(srv.Close)
	s.put(id, srv.Listener.Addr().String())
	return srv
}

// dead registers an instance that refuses connections.
func (s *site) dead(id string) {
	s.t.Helper()
	s.put(id, etcdtest.Addr(s.t))
}

func (s *site) put(id, value string) {
	s.t.Helper()
	if _, err := s.cli.Put(bounded(s.t), s.prefix+"web/"+id, value); err != nil {
		s.t.Fatal(err)
	}
}

// until waits until the list is as wanted.
func (s *site) until(want string) {
	s.t.Helper()
	v := s.view()
	for ctx := bounded(s.t); ; {
		changed := v.Changed()
		var ids []string
		for _, i := range v.Instances() {
			ids = append(ids, i.ID)
		}
		if strings.Join(ids, " ") == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			s.t.Fatalf("list %q, want %q; state %+v", ids, want, v.State())
		}
	}
}

func (s *site) view() *discovery.View {
	s.t.Helper()
	v, err := s.View(bounded(s.t), "web")
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// ask sends a request and returns the answer's status and body.
func (s *site) ask(req *http.Request) (int, string, error) {
	resp, err := s.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (s *site) get() (int, string, error) { return s.ask(request(s.t, "GET", nil)) }

func request(t testing.TB, method string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://web/path", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// quiet is for servers whose clients hang up.
var quiet = log.New(io.Discard, "", 0)

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, "no")
	}
}
