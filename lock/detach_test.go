package lock_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// detached acquires a lock and detaches it, as a process that ends then.
func detached(t *testing.T, cli *clientv3.Client, name string, ttl time.Duration) string {
	t.Helper()
	m := lock.New(cli, name, nil)
	h := acquire(t, m)
	d, err := h.Detach(bounded(t), ttl)
	if err != nil {
		t.Fatal(err)
	}
	if d.Name() != name || d.Token() != h.Token() || d.Key() != h.Key() {
		t.Errorf("it is %q, %q, %d: want those of the hold", d.Name(), d.Key(), d.Token())
	}
	if err := h.Err(); !errors.Is(err, lock.ErrReleased) {
		t.Errorf("the hold afterwards: %v, want ErrReleased", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func open(t *testing.T, cli *clientv3.Client, text string) *lock.Detached {
	t.Helper()
	d, err := lock.OpenDetached(cli, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADetachedLockIsHeldUntilItIsReleased(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "a name with spaces, and \"quotes\""
	text := detached(t, cli, name, time.Minute)
	if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(text) {
		t.Errorf("its text is %q: want what a shell need not quote", text)
	}
	m := mutex(t, cli, name)
	if _, err := m.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) {
		t.Fatalf("another process: %v, want ErrTaken", err)
	}
	d := open(t, cli, text+"\n")
	if resp, err := cli.Txn(bounded(t)).If(d.Guard()).Commit(); err != nil || !resp.Succeeded {
		t.Errorf("its guard: %v, %v", resp, err)
	}
	if left, err := d.Renew(bounded(t)); err != nil || left != time.Minute {
		t.Errorf("Renew: %v, %v, want a minute", left, err)
	}
	on := clientv3.LeaseID(leaseOf(t, cli, d.Key()))
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	if err := d.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
	h := w.gets(t)
	if h.Token() <= d.Token() {
		t.Errorf("token %d after %d", h.Token(), d.Token())
	}
	release(t, h)
	if left := remaining(t, cli, on); left != -1 {
		t.Errorf("its lease has %d s left", left)
	}
	if err := d.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("a second Release: %v, want ErrLost", err)
	}
	if _, err := d.Renew(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Renew afterwards: %v, want ErrLost", err)
	}
}

func TestADetachedLockThatIsNotRenewedIsFree(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	d := open(t, cli, detached(t, cli, prefix+"lock", 2*time.Second))
	release(t, acquire(t, mutex(t, cli, prefix+"lock")))
	if _, err := d.Renew(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Renew: %v, want ErrLost", err)
	}
	if err := d.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Release: %v, want ErrLost", err)
	}
}

func TestADetachedLockCanBeResumed(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	d := open(t, cli, detached(t, cli, prefix+"lock", time.Minute))
	m := mutex(t, cli, prefix+"lock")
	h, err := m.Resume(bounded(t), d.ResumeToken())
	if err != nil {
		t.Fatal(err)
	}
	if h.Token() != d.Token() {
		t.Errorf("token %d, want %d", h.Token(), d.Token())
	}
	if err := d.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Release of what was resumed: %v, want ErrLost", err)
	}
	if err := h.Err(); err != nil {
		t.Errorf("the hold afterwards: %v", err)
	}
	release(t, h)
}

// A hold that is older than a second is written by its process now and then.
func TestALongHoldCanBeDetached(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	for ctx := bounded(t); ; { // until it says since when it is held
		q, err := lock.Entries(ctx, cli, prefix+"lock", nil)
		if err != nil {
			t.Fatal(err)
		}
		if !q.Entries[0].Acquired.IsZero() {
			break
		}
	}
	w := queued(t, cli, prefix+"lock", 1, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }) // in this process
	d, err := h.Detach(bounded(t), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	q, err := lock.Entries(bounded(t), cli, prefix+"lock", nil)
	if err != nil || q.Entries[0].Token != d.Token() || q.Entries[0].Acquired.IsZero() || q.Entries[0].Foreign {
		t.Errorf("its entry: %+v, %v", q.Entries, err)
	}
	if err := d.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
	release(t, w.gets(t))
}

func TestReadersAndHoldersOfASemaphoreCanBeDetached(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	for what, h := range map[string]*lock.Hold{
		"a reader":             must(t)(rwmutex(t, cli, prefix+"rw").AcquireRead(bounded(t))),
		"a semaphore's holder": must(t)(semaphore(t, cli, prefix+"s", 3).AcquireN(bounded(t), 2)),
	} {
		d, err := h.Detach(bounded(t), time.Minute)
		if err != nil {
			t.Fatal(what, err)
		}
		if _, err := d.Renew(bounded(t)); err != nil {
			t.Error(what, err)
		}
		if err := d.Release(bounded(t)); err != nil {
			t.Error(what, err)
		}
	}
	if n := count(t, cli, prefix); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func TestDetachOfALostHoldIsErrLost(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	for _, ttl := range []time.Duration{0, time.Second, 2500 * time.Millisecond} {
		if _, err := h.Detach(bounded(t), ttl); !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("for %v: %v, want ErrInvalid", ttl, err)
		}
	}
	if err := h.Err(); err != nil {
		t.Fatalf("the hold afterwards: %v", err)
	}
	if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Detach(bounded(t), time.Minute); !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	if n := count(t, cli, prefix); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	again := acquire(t, m)
	if _, err := again.Detach(bounded(t), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Detach(bounded(t), time.Minute); !errors.Is(err, lock.ErrReleased) {
		t.Errorf("a second time: %v, want ErrReleased", err)
	}
}

func TestATextThatIsNoDetachedLockIsRefused(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	good := detached(t, cli, prefix+"lock", 2*time.Second)
	for _, text := range []string{"", "x", "eyJ9", "bnVsbA", "e30", good[:len(good)-9], good + "AAAA", "\x1b[2J"} {
		_, err := lock.OpenDetached(cli, text)
		if !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", text, err)
			continue
		}
		harmless(t, "the error", err.Error())
	}
}

func TestRevokeDeletesTheEntryThatWasListedAndNoOther(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	h := acquire(t, mutex(t, cli, name))
	one := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return mutex(t, cli, name).Acquire(ctx) })
	two := queued(t, cli, name, 3, func(ctx context.Context) (*lock.Hold, error) { return mutex(t, cli, name).Acquire(ctx) })
	q, err := lock.Entries(bounded(t), cli, name, nil)
	if err != nil || len(q.Entries) != 3 {
		t.Fatalf("%v, %v", q, err)
	}
	older := q.Entries[0]
	older.Token--
	for what, e := range map[string]lock.Entry{"an older one": older, "one that never was": {Key: name + "/1-0", Token: 7}} {
		if err := lock.Revoke(bounded(t), cli, e); !errors.Is(err, lock.ErrGone) {
			t.Errorf("%s: %v, want ErrGone", what, err)
		}
	}
	if err := lock.Revoke(bounded(t), cli, lock.Entry{Key: name + "/1-0"}); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("without a token: %v, want ErrInvalid", err)
	}
	if n := count(t, cli, name+"/"); n != 3 {
		t.Fatalf("%d entries are left, want 3", n)
	}
	if err := lock.Revoke(bounded(t), cli, q.Entries[1]); err != nil { // the first that waits
		t.Fatal(err)
	}
	if err := one.fails(t); !errors.Is(err, lock.ErrLost) {
		t.Errorf("the waiter: %v, want ErrLost", err)
	}
	if err := lock.Revoke(bounded(t), cli, q.Entries[0]); err != nil {
		t.Fatal(err)
	}
	release(t, two.gets(t))
	<-h.Done()
	if err := h.Err(); !errors.Is(err, lock.ErrLost) {
		t.Errorf("the holder: %v, want ErrLost", err)
	}
}
