package services

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-kit/kit/sd"
	"github.com/go-kit/kit/sd/etcdv3"
	"github.com/go-kit/log"
	"google.golang.org/grpc"
)

// gokit is go-kit's sd/etcdv3. One Client carries one registration: the next Register on it closes
// the lease of the one before. So each registration gets a Client, and so does each Instancer.
type gokit struct{}

func (*gokit) name() string { return "go-kit" }

func (*gokit) record(service, id, addr string) (key, value string) {
	return root + service + "/" + id, addr
}

// gokitClient can be closed, which go-kit's own cannot: an interceptor tells its connection.
type gokitClient struct {
	etcdv3.Client
	end  context.CancelFunc
	mu   sync.Mutex
	conn *grpc.ClientConn
}

func newGokitClient(endpoints []string) (*gokitClient, error) {
	life, end := context.WithCancel(context.Background())
	c := &gokitClient{end: end}
	tell := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		c.mu.Lock()
		c.conn = cc
		c.mu.Unlock()
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	var err error
	c.Client, err = etcdv3.NewClient(life, endpoints, etcdv3.ClientOptions{
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(tell)},
	})
	if err != nil {
		end()
		return nil, err
	}
	return c, nil
}

func (c *gokitClient) close() error {
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// gokitWriter has a client that is connected, for the next registration: a Client that has been
// used before races with itself (its goroutine reads hbch, which Register writes).
type gokitWriter struct {
	endpoints []string
	ttl       time.Duration

	mu    sync.Mutex
	spare *gokitClient
	used  map[*gokitClient]bool
}

func (*gokit) writer(_ context.Context, endpoints []string, ttl time.Duration) (writer, error) {
	w := &gokitWriter{endpoints: endpoints, ttl: ttl, used: make(map[*gokitClient]bool)}
	return w, w.prepare()
}

// prepare makes a client and connects it, unless there is one.
func (w *gokitWriter) prepare() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.spare != nil {
		return nil
	}
	c, err := newGokitClient(w.endpoints)
	if err != nil {
		return err
	}
	w.spare = c
	_, err = c.GetEntries(root + "standing")
	return err
}

// client is the one that is prepared, or else one that has to connect still.
func (w *gokitWriter) client() (*gokitClient, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.spare
	w.spare = nil
	if c == nil {
		var err error
		if c, err = newGokitClient(w.endpoints); err != nil {
			return nil, err
		}
	}
	w.used[c] = true
	return c, nil
}

// done closes a client.
func (w *gokitWriter) done(c *gokitClient) error {
	w.mu.Lock()
	delete(w.used, c)
	w.mu.Unlock()
	return c.close()
}

// failure is the Logger by which a Registrar tells of an error: it returns none.
type failure struct{ err error }

func (f *failure) Log(pairs ...any) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err, ok := pairs[i+1].(error); ok && pairs[i] == "err" {
			f.err = err
		}
	}
	return nil
}

func (w *gokitWriter) register(_ context.Context, service, addr string) (leave func() error, err error) {
	c, err := w.client()
	if err != nil {
		return nil, err
	}
	var failed failure
	key, value := (&gokit{}).record(service, addr, addr)
	r := etcdv3.NewRegistrar(c, etcdv3.Service{Key: key, Value: value, TTL: etcdv3.NewTTLOption(w.ttl/3, w.ttl)}, &failed)
	r.Register()
	if failed.err != nil {
		return nil, failed.err
	}
	return func() error {
		r.Deregister()
		return errors.Join(failed.err, w.done(c), w.prepare())
	}, nil
}

func (w *gokitWriter) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for c := range w.used {
		errs = append(errs, c.close())
	}
	if w.spare != nil {
		errs = append(errs, w.spare.close())
	}
	return errors.Join(errs...)
}

type instancerConsumer struct {
	client    *gokitClient
	instancer *etcdv3.Instancer
	events    chan sd.Event
	list      []string
}

func (*gokit) follow(ctx context.Context, endpoints []string, service string) (consumer, error) {
	c, err := newGokitClient(endpoints)
	if err != nil {
		return nil, err
	}
	i, err := etcdv3.NewInstancer(c, root+service+"/", log.NewNopLogger())
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	events := make(chan sd.Event, 1) // Register sends the first one before it is read
	i.Register(events)
	consumer := &instancerConsumer{client: c, instancer: i, events: events}
	return consumer, consumer.next(ctx)
}

func (c *instancerConsumer) next(ctx context.Context) error {
	select {
	case ev := <-c.events:
		if ev.Err == nil { // on an error the list is to be kept, says sd.Event
			c.list = ev.Instances
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *instancerConsumer) addrs() []string { return c.list }

// close reads on meanwhile: the Instancer sends with its lock held.
func (c *instancerConsumer) close() error {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-c.events:
			case <-done:
				return
			}
		}
	})
	c.instancer.Deregister(c.events)
	close(done)
	wg.Wait()
	c.instancer.Stop()
	return c.client.close()
}
