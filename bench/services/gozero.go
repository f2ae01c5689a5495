package services

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"
)

// gozero is go-zero's core/discov. It makes its own clients, one for each list of endpoints, and
// keeps them for the life of the process.
type gozero struct{}

func (*gozero) name() string { return "go-zero" }

// tame ends what peers do to the whole process. go-zero logs to stdout, and would kill the process
// 5.5 s after Ctrl-C (core/proc), whether that has tidied up or not. go-zero and go-kit leave
// clientv3's own logger on stderr, for which there is this switch.
func tame() error {
	logx.Disable()
	proc.SetTimeToForceQuit(time.Hour)
	return os.Setenv("ETCD_CLIENT_DEBUG", "fatal")
}

func (*gozero) record(service, id, addr string) (key, value string) {
	return root + service + "/" + id, addr
}

type gozeroWriter struct{ endpoints []string }

func (*gozero) writer(_ context.Context, endpoints []string, ttl time.Duration) (writer, error) {
	discov.TimeToLive = int64(ttl.Seconds())
	return &gozeroWriter{slices.Clone(endpoints)}, nil // it sorts them in place
}

func (w *gozeroWriter) register(_ context.Context, service, addr string) (leave func() error, err error) {
	p := discov.NewPublisher(w.endpoints, root+service, addr)
	if err := p.KeepAlive(); err != nil {
		return nil, err
	}
	return func() error { p.Stop(); return nil }, nil
}

func (*gozeroWriter) close() error { return nil }

type subscriber struct {
	*discov.Subscriber
	changed chan struct{}
}

func (*gozero) follow(_ context.Context, endpoints []string, service string) (consumer, error) {
	s, err := discov.NewSubscriber(slices.Clone(endpoints), root+service)
	if err != nil {
		return nil, err
	}
	c := &subscriber{s, make(chan struct{}, 1)}
	s.AddListener(func() {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	})
	return c, nil
}

func (c *subscriber) next(ctx context.Context) error {
	select {
	case <-c.changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *subscriber) addrs() []string { return c.Values() }

func (c *subscriber) close() error { c.Close(); return nil }
