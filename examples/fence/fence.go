// Fence shows why a lock alone cannot protect what is outside etcd, and what can: a holder that was paused
// does not know that it has lost its lock, and writes late. A fence in front of the store refuses the write.
//
// Try it: go run ./examples/fence
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/lock/fence"
)

// store is a service that keeps one text. It knows nothing of etcd.
type store struct {
	mu   sync.Mutex
	text string
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != http.MethodPut {
		fmt.Fprint(w, s.text)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.text = string(text)
	fmt.Fprintf(w, "stored %q", text)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("fence: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := show(ctx, strings.Split(*endpoints, ",")); err != nil {
		log.Fatal(err)
	}
}

// serve starts the store behind a fence, which remembers the largest token that it has seen and lets no
// smaller one pass.
func serve() (url string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	protected := fence.Handler(new(store), &fence.Options{Name: func(*http.Request) string { return "jobs/report" }})
	server := &http.Server{Handler: protected, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends with stop
	stop = func() error {
		err := server.Close()
		<-served
		return err
	}
	return "http://" + l.Addr().String() + "/report", stop, nil
}

// show lets two holders write, the first of which is paused.
func show(ctx context.Context, endpoints []string) (err error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()

	url, stop, err := serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	// A and B are two processes, in one here. A lock's token grows with each hold.
	keeper := lease.NewKeeper(cli, nil) // of A, to get at its lease below
	defer keeper.Close()
	a, b := lock.New(cli, "jobs/report", &lock.Options{Keeper: keeper}), lock.New(cli, "jobs/report", nil)
	defer a.Close()
	defer b.Close()
	first, err := a.Acquire(ctx)
	if err != nil {
		return err
	}
	defer first.Release(ctx) // a hold that was lost, too: so A's lock knows that its work has ended
	fmt.Println("A holds the lock")
	if err := put(ctx, url, "A", first); err != nil {
		return err
	}

	// A pauses: garbage collection, a suspended machine. Its lease ends, which is done here by revoking it.
	held, err := keeper.Lease(ctx)
	if err != nil {
		return err
	}
	if _, err := cli.Revoke(ctx, held.ID()); err != nil {
		return err
	}
	fmt.Println("A pauses, and its lease ends")
	second, err := b.Acquire(ctx)
	if err != nil {
		return err
	}
	fmt.Println("B holds the lock")
	if err := put(ctx, url, "B", second); err != nil {
		return err
	}

	// A goes on where it stopped, before it has noticed anything. Only the fence can know.
	fmt.Println("A goes on")
	if err := put(ctx, url, "A, late", first); err != nil {
		return err
	}
	return second.Release(ctx)
}

// put stores a text under a lock.
func put(ctx context.Context, url, text string, hold *lock.Hold) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(text))
	if err != nil {
		return err
	}
	fence.SetToken(req.Header, hold.Token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	fmt.Printf("  PUT %q, token %d: %d %s\n", text, hold.Token(), resp.StatusCode, strings.TrimSpace(string(answer)))
	return nil
}
