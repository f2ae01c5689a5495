package health_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/etcdkit/etcdkit/health"
)

// refusing returns an address that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestHTTPProbes(t *testing.T) {
	handler := http.NewServeMux()
	for path, code := range map[string]int{"/ok": 200, "/empty": 204, "/busy": 429, "/down": 503, "/missing": 404} {
		handler.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) })
	}
	handler.HandleFunc("/why", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no database", http.StatusInternalServerError)
	})
	handler.HandleFunc("/twice", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "Bad Gateway", http.StatusBadGateway) })
	handler.HandleFunc("/query", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "token=secret" || !r.Close { // each connection is for one probe
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	handler.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	handler.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	handler.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
		}
	})
	handler.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(handler)
	defer server.Close()
	addr := server.Listener.Addr().String()
	for _, tc := range []struct{ url, addr, verdict, text string }{
		{"/ok", addr, "p", "200 OK"},
		{"/empty", addr, "p", "204 No Content"},
		{"/moved", addr, "p", "200 OK"},
		{"/query?token=secret", addr, "p", "200 OK"},
		{server.URL + "/ok", "elsewhere:1", "p", "200 OK"},
		{"/busy", addr, "w", "429 Too Many Requests"},
		{"/down", addr, "f", "503 Service Unavailable"},
		{"/missing", addr, "f", "404 Not Found"},
		{"/why", addr, "f", "500 Internal Server Error: no database"},
		{"/twice", addr, "f", "502 Bad Gateway"},
		{"/round", addr, "f", "stopped after 10 redirects"},
		{"/endless", addr, "f", "500 Internal Server Error: xxxx"},
		{"/silent", addr, "f", "no answer within 1s"},
		{"/ok", refusing(t), "f", "connection refused"},
	} {
		c := health.HTTP(tc.url)
		c.Timeout = within
		if tc.url == "/silent" {
			c.Timeout = time.Second
		}
		r := open(t, tc.addr, c).Results()[0]
		want := map[string]health.Status{"p": health.Passing, "w": health.Warning, "f": health.Critical}[tc.verdict]
		exact := r.Output == tc.text || strings.Contains(tc.text, "refused") || strings.Contains(tc.text, "xxxx")
		if r.Status != want || !strings.Contains(r.Output, tc.text) || !exact || strings.Contains(r.Output, "secret") {
			t.Errorf("%s: got %+v, want %s with %q", tc.url, r, want, tc.text)
		}
	}
}

func TestTCPProbes(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, gone := l.Addr().String(), refusing(t)
	for _, tc := range []struct{ own, addr, want string }{{"", there, "p"}, {"", gone, "f"}, {there, gone, "p"}, {gone, there, "f"}} {
		said, err := health.TCP(tc.own).Probe(bounded(t), tc.addr)
		if verdict(err) != tc.want {
			t.Errorf("TCP(%q) of %s: got %q, %v, want %s", tc.own, tc.addr, said, err, tc.want)
		}
	}
}

// serve serves gRPC until the test ends.
func serve(t *testing.T, s *grpc.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }() // ends with Stop
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestGRPCProbes(t *testing.T) {
	said := grpchealth.NewServer()
	said.SetServingStatus("up", pb.HealthCheckResponse_SERVING)
	said.SetServingStatus("down", pb.HealthCheckResponse_NOT_SERVING)
	plain := grpc.NewServer()
	pb.RegisterHealthServer(plain, said)

	certified := httptest.NewTLSServer(nil) // for its certificate
	certified.Close()
	pool := x509.NewCertPool()
	pool.AddCert(certified.Certificate())
	secure := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certified.TLS.Certificates[0])))
	pb.RegisterHealthServer(secure, said)

	with, without, tls := serve(t, plain), serve(t, grpc.NewServer()), serve(t, secure)
	trusting := grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, "example.com"))
	for _, tc := range []struct {
		check               health.Check
		addr, verdict, text string
	}{
		{health.GRPC(""), with, "p", "SERVING"},
		{health.GRPC("up"), with, "p", "SERVING"},
		{health.GRPC("up", trusting), tls, "p", "SERVING"},
		{health.GRPC("down"), with, "f", "NOT_SERVING"},
		{health.GRPC("other"), with, "f", "NotFound: unknown service"},
		{health.GRPC(""), without, "f", "Unimplemented: unknown service grpc.health.v1.Health"},
		{health.GRPC(""), tls, "f", "Unavailable: "},
		{health.GRPC(""), refusing(t), "f", "connection refused"},
	} {
		out, err := tc.check.Probe(bounded(t), tc.addr)
		if verdict(err) != tc.verdict || !strings.Contains(fmt.Sprint(out, err), tc.text) {
			t.Errorf("%s of %s: got %q, %v, want %s with %q", tc.check.Name, tc.addr, out, err, tc.verdict, tc.text)
		}
	}
}

func TestAProbeOfAServerThatNeverAnswersEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepted by the kernel, and the program does not read
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []health.Check{health.HTTP("/"), health.GRPC("")} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		begin := time.Now()
		_, err := c.Probe(ctx, l.Addr().String())
		if took := time.Since(begin); err == nil || took > 5*time.Second {
			t.Errorf("%s: %v after %v, want an error after 0.2 s", c.Name, err, took)
		}
		cancel()
	}
}
