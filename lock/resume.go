package lock

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// resumeToken is what another process needs to find a hold and to prove that it knows it.
type resumeToken struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Nonce    string `json:"nonce"`
	// Lease is that to which a Detach without an answer may have moved the key, or may still do so; 0: none.
	Lease clientv3.LeaseID `json:"lease,omitempty"`
}

// resumeTimeout bounds a Resume whose context has no deadline.
const resumeTimeout = 10 * time.Second

// ResumeToken is a text with which a process that is started again within the TTL can take this hold of
// a Mutex back: see Mutex.Resume. Save it where only the next process finds it.
func (h *Hold) ResumeToken() string {
	var o owner
	_ = json.Unmarshal([]byte(h.held.Entry().Value), &o) // this process wrote it
	return resumeToken{Key: h.Key(), Revision: h.Token(), Nonce: o.Nonce}.text()
}

func (t resumeToken) text() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	return string(b)
}

// Resume takes back the hold of an earlier process, by its ResumeToken. The fencing token stays the same.
// If the hold's lease has ended, if it was released, or if another process has resumed it, the error is
// ErrLost: use Acquire.
//
// The earlier process must have ended. A process that was paused, and goes on, believes that it holds
// the lock as well, and has the same fencing token: nothing can tell the two apart.
func (m *Mutex) Resume(ctx context.Context, saved string) (*Hold, error) {
	ctx, done, err := m.begin(ctx, "resume", nil)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	var was resumeToken
	if err := json.Unmarshal([]byte(saved), &was); err != nil {
		return nil, errtext.Errorf("%w: resume %q with %.60q: %w", ErrInvalid, m.handle.Name, saved, err)
	}
	if !m.handle.Queue.Excludes(was.Key) || was.Nonce == "" { // a reader, or a holder of a semaphore, does not keep others out
		return nil, fmt.Errorf("%w: resume %q: the token is of the key %s: want the ResumeToken of a Mutex of this name", ErrInvalid, m.handle.Name, quote.Text(was.Key))
	}
	m.mu.Lock()
	busy := m.busy
	m.busy = true
	if m.kept.idle {
		m.removeKept()
	}
	m.mu.Unlock()
	if busy {
		m.mu.Lock()
		last := m.last
		m.mu.Unlock()
		if last != nil && last.Key() == was.Key && last.Token() == was.Revision && last.lost() {
			return nil, m.handle.Errorf("resume", "%w: it is a hold of this process that was lost before: release it, and acquire the lock again", ErrLost)
		}
		return nil, m.takenLocally("resume")
	}
	e, err := m.resume(ctx, was)
	if err != nil {
		m.wakeNext()
		return nil, m.handle.Explain("resume", err)
	}
	return m.hold(e), nil
}

func (m *Mutex) resume(ctx context.Context, was resumeToken) (*queue.Entry, error) {
	resp, err := m.handle.Client.Get(ctx, was.Key)
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != was.Revision {
		return nil, errtext.New(fmt.Sprintf("%s is gone", quote.Text(was.Key)), queue.ErrLost)
	}
	var is owner
	if json.Unmarshal(resp.Kvs[0].Value, &is) != nil || is.Nonce != was.Nonce {
		return nil, errtext.New(fmt.Sprintf("%s was resumed by %s", quote.Text(was.Key), describe(m.handle.Name, resp.Kvs[0])), queue.ErrLost)
	}
	return m.handle.Queue.Resume(ctx, resp.Kvs[0], m.owner.newValue())
}
