package ask

import (
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// closeTimeout bounds what Close of a client waits for. It takes milliseconds.
const closeTimeout = time.Second

var errNotClosed = errors.New("a watch did not end in time")

// Watcher is a client's own, but its Close returns within closeTimeout. When it gives up waiting, some
// goroutines stay behind, which do nothing; the connections are closed.
//
// clientv3 (3.7.3) waits for ever if it is closed in the moment in which etcd refuses a watch: it has
// counted the watch as ended, and the watch waits to say so. A program whose role was revoked could not
// leave.
type Watcher struct{ clientv3.Watcher }

// Close closes the client's own Watcher.
func (w Watcher) Close() error {
	closed := make(chan error, 1)
	go func() { closed <- w.Watcher.Close() }() // ends in milliseconds, or never
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	select {
	case err := <-closed:
		return err
	case <-late.C:
		return errNotClosed
	}
}
