package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
)

// servers are two instances that answer gRPC and two that answer HTTP. All tests share them.
type servers struct {
	grpc, http [2]string
	close      func()
}

var (
	serversMu sync.Mutex
	running   *servers
	users     int
)

// useServers starts them, if need be. Each user calls leave.
func useServers() (_ *servers, leave func(), _ error) {
	serversMu.Lock()
	defer serversMu.Unlock()
	if users == 0 {
		s, err := startServers()
		if err != nil {
			return nil, nil, err
		}
		running = s
	}
	users++
	return running, sync.OnceFunc(func() {
		serversMu.Lock()
		defer serversMu.Unlock()
		if users--; users == 0 {
			running.close()
		}
	}), nil
}

func startServers() (*servers, error) {
	s := &servers{}
	var ends []func()
	s.close = func() {
		for _, end := range ends {
			end()
		}
	}
	for i := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		g := grpc.NewServer()
		h := health.NewServer()
		healthpb.RegisterHealthServer(g, h)
		go g.Serve(l) // until Stop
		ends = append(ends, g.Stop)
		s.grpc[i] = l.Addr().String()

		l, err = net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.close()
			return nil, err
		}
		addr := l.Addr().String()
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, addr) })}
		go web.Serve(l) // until Close
		ends = append(ends, func() { web.Close() })
		s.http[i] = addr
	}
	return s, nil
}

// answered is a handle whose requests must arrive at the one instance that is registered.
func answered(p *place, instances [2]string, ask func(ctx context.Context) (from string, err error)) *handle {
	// until etcd can be asked, any answer is right
	works := func(ctx context.Context) error {
		want := instances[fresh.Add(1)%2]
		if err := show(ctx, p, want); err != nil {
			return err
		}
		return until(ctx, func() error {
			from, err := ask(ctx)
			if err == nil && from != want {
				err = fmt.Errorf("%s answers, want %s", from, want)
			}
			return err
		})
	}
	return &handle{
		done: never, err: noError,
		works: works, serves: works,
		key: fixed(p.name + "/web/a"),
		gone: func(ctx context.Context) error {
			return until(ctx, func() error {
				if _, err := ask(ctx); err == nil {
					return errors.New("it is still answered")
				}
				return nil
			})
		},
		answers: func(ctx context.Context) error { _, err := ask(ctx); return err },
	}
}

func openResolver(ctx context.Context, p *place) (*handle, error) {
	s, leave, err := useServers()
	if err != nil {
		return nil, err
	}
	if err := show(ctx, p, s.grpc[0]); err != nil {
		leave()
		return nil, err
	}
	builder := p.builder
	if builder == nil {
		builder = grpcresolver.New(p.cli, &grpcresolver.Options{View: discovery.Options{Prefix: p.name + "/"}})
	}
	dial := func(service string) (*grpc.ClientConn, error) {
		return grpc.NewClient("etcdkit:///"+service,
			grpc.WithResolvers(builder),
			grpc.WithDefaultServiceConfig(grpcresolver.ServiceConfig),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	conn, err := dial("web")
	if err != nil {
		leave()
		return nil, err
	}
	h := answered(p, s.grpc, func(ctx context.Context) (string, error) {
		var from peer.Peer
		_, err := healthpb.NewHealthClient(conn).Check(ctx, nil, grpc.Peer(&from), grpc.WaitForReady(false))
		if err != nil {
			return "", err
		}
		return from.Addr.String(), nil
	})
	h.close = func() error {
		defer leave()
		if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled {
			return err
		}
		return nil
	}
	h.calls = []call{{"RPC", func(ctx context.Context) error {
		conn, err := dial(fmt.Sprint("call", fresh.Add(1)))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = healthpb.NewHealthClient(conn).Check(ctx, nil)
		if err != nil && strings.Contains(err.Error(), "no instance of ") {
			return nil // as is right
		}
		return err
	}}}
	var refused error
	err = until(ctx, func() error {
		err := h.answers(ctx)
		if err != nil && strings.Contains(err.Error(), "grpcresolver: target ") { // gRPC passes on the text only
			refused, err = err, nil
		}
		return err
	})
	if err = errors.Join(refused, err); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func openTransport(ctx context.Context, p *place) (*handle, error) {
	s, leave, err := useServers()
	if err != nil {
		return nil, err
	}
	if err := show(ctx, p, s.http[0]); err != nil {
		leave()
		return nil, err
	}
	tr := httptransport.New(p.cli, &httptransport.Options{View: discovery.Options{Prefix: p.name + "/"}})
	get := func(ctx context.Context, service string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"/", nil)
		if err != nil {
			return "", err
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	h := answered(p, s.http, func(ctx context.Context) (string, error) { return get(ctx, "web") })
	h.close = func() error { defer leave(); return tr.Close() }
	h.calls = []call{{"RoundTrip", func(ctx context.Context) error {
		_, err := get(ctx, fmt.Sprint("call", fresh.Add(1)))
		if errors.Is(err, discovery.ErrNone) {
			return nil
		}
		return err
	}}}
	if err := h.answers(ctx); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}
