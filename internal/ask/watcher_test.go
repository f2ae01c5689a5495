package ask_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/ask"
)

// stuck is a Watcher whose Close waits until the test ends, as clientv3's can for ever.
type stuck struct {
	clientv3.Watcher
	end <-chan struct{}
}

func (s stuck) Close() error {
	<-s.end
	return s.Watcher.Close()
}

func TestCloseOfAClientIsBoundedThoughAWatchDoesNotEnd(t *testing.T) {
	shared, _ := etcdtest.New(t)
	cli := plain(t, shared.Endpoints()...)
	end, closed := make(chan struct{}), make(chan struct{})
	defer close(end)
	cli.Watcher = ask.Watcher{Watcher: stuck{cli.Watcher, end}}
	go func() {
		defer close(closed)
		cli.Close()
	}()
	select {
	case <-closed:
	case <-time.After(generous):
		t.Error("Close waits for a watch that does not end")
	}
}
