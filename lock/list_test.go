package lock_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// counted returns a client of the same etcd, and how many requests it has sent.
func counted(t testing.TB, cli *clientv3.Client) (*clientv3.Client, *atomic.Int64) {
	t.Helper()
	var sent atomic.Int64
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			sent.Add(1)
			return send(ctx, method, req, reply, cc, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, &sent
}

func session(t testing.TB, cli *clientv3.Client) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(cli, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// entries are those of a lock's queue, as short texts.
func entries(t testing.TB, q *lock.Queue) (all []string) {
	t.Helper()
	for i, e := range q.Entries {
		if e.Position != i || e.Name != q.Name {
			t.Errorf("entry %d of %q says that it is number %d of %q", i, q.Name, e.Position, e.Name)
		}
		text := fmt.Sprint(e.Status, " ", e.Mode)
		if e.Size > 0 {
			text += fmt.Sprint(" ", e.Weight, " of ", e.Size)
		}
		if e.Foreign {
			text += " foreign"
		}
		all = append(all, text)
	}
	return all
}

func sameTexts(t testing.TB, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestEntriesShowHoldersAndWaiters(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs/nightly"
	m := withOptions(t, cli, name, lock.Options{TTL: 5 * time.Second, Data: "job <7> \x00 of é"})
	began := time.Now().Add(-2 * time.Second)
	h := acquire(t, m)
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return mutex(t, cli, name).Acquire(ctx) })
	s := session(t, cli)
	theirs := concurrency.NewMutex(s, name)
	locking, stop := context.WithCancel(bounded(t))
	locked := make(chan error, 1)
	go func() { locked <- theirs.Lock(locking) }() // waited for below
	for count(t, cli, name+"/") != 3 {
	}
	if _, err := cli.Put(bounded(t), name+"/by-hand", `{"pid":7,"host":"x"}`); err != nil {
		t.Fatal(err)
	}
	for { // until it says since when it is held
		asks, sent := counted(t, cli)
		q, err := lock.Entries(bounded(t), asks, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sent.Load() != 1 {
			t.Fatalf("%d requests, want one", sent.Load())
		}
		first := q.Entries[0]
		if first.Acquired.IsZero() {
			continue
		}
		sameTexts(t, entries(t, q), []string{"holds exclusive", "waits exclusive", "waits exclusive foreign", "waits exclusive foreign"})
		host, _ := os.Hostname()
		if q.Count != 4 || first.Key != h.Key() || first.Token != h.Token() || first.PID != os.Getpid() || first.Host != host ||
			!strings.HasPrefix(first.Command, "lock.test") || first.Data != "job <7> \x00 of é" || first.Lease != clientv3.LeaseID(leaseOf(t, cli, h.Key())) ||
			first.Since.Before(began) || first.Acquired.Before(first.Since) {
			t.Errorf("the holder is %+v", first)
		}
		if e := q.Entries[1]; e.PID != os.Getpid() || !e.Acquired.IsZero() || e.Since.Before(began) {
			t.Errorf("the waiter is %+v", e)
		}
		if e := q.Entries[2]; e.Lease != s.Lease() || e.Host != "" || e.PID != 0 || e.Command != "" || !e.Since.IsZero() || !strings.Contains(e.String(), "does not identify itself") {
			t.Errorf("clientv3's is %+v", e)
		}
		if e := q.Entries[3]; e.Lease != 0 || e.Host != "" || e.PID != 0 {
			t.Errorf("the key without an owner is %+v", e)
		}
		text, err := json.Marshal(first)
		if want := fmt.Sprintf(`"lease":"%x"`, int64(first.Lease)); err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), `"status":"holds"`) {
			t.Errorf("as JSON it is %s, %v, want %s in it", text, err, want)
		}
		break
	}
	if q, err := lock.Entries(bounded(t), cli, name, &lock.ListOptions{Limit: 2}); err != nil || len(q.Entries) != 2 || q.Count != 4 || q.Entries[0].Key != h.Key() {
		t.Errorf("the first two: %+v, %v", q, err)
	}
	stop()
	<-locked
	release(t, h)
	release(t, w.gets(t))
	if q, err := lock.Entries(bounded(t), cli, prefix+"free", nil); err != nil || len(q.Entries) != 0 || q.Count != 0 || q.Revision == 0 {
		t.Errorf("of a lock without a holder: %+v, %v", q, err)
	}
	if _, err := lock.Entries(bounded(t), cli, "bad/", nil); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("of a bad name: %v, want ErrInvalid", err)
	}
}

func TestEntriesOfAResumedHoldAreKnown(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	before := mutex(t, cli, prefix+"lock")
	h := acquire(t, before)
	again := must(t)(mutex(t, cli, prefix+"lock").Resume(bounded(t), h.ResumeToken()))
	q, err := lock.Entries(bounded(t), cli, prefix+"lock", nil)
	if err != nil || len(q.Entries) != 1 || q.Entries[0].Foreign || q.Entries[0].PID != os.Getpid() {
		t.Errorf("got %+v, %v, want this process's own", q, err)
	}
	release(t, again)
}

// What a list says of an entry is what the entry's owner sees.
func TestTheStateOfAnEntryIsWhetherItIsHeld(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	check := func(t *testing.T, name string, all []*waiter, want []string) {
		t.Helper()
		q, err := lock.Entries(bounded(t), cli, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		sameTexts(t, entries(t, q), want)
		for i, e := range q.Entries {
			if e.Status == lock.Holds {
				h := all[i].gets(t)
				if h.Key() != e.Key || h.Token() != e.Token {
					t.Errorf("entry %d is %s, %d, and its owner holds %s, %d", i, e.Key, e.Token, h.Key(), h.Token())
				}
				all[i].held <- h
			} else {
				all[i].waits(t)
			}
		}
	}
	end := func(t *testing.T, name string, first int, all []*waiter) {
		for i := range all[first:] {
			release(t, all[first+i].gets(t))
			for count(t, cli, name+"/") != int64(len(all)-first-i-1) {
			}
		}
	}
	t.Run("readers and writers", func(t *testing.T) {
		name := prefix + "rw"
		m := rwmutex(t, cli, name)
		var all []*waiter
		for i, acquire := range []func(context.Context) (*lock.Hold, error){read(m), read(m), write(m), read(m), write(m)} {
			all = append(all, queued(t, cli, name, int64(i+1), acquire))
		}
		check(t, name, all, []string{"holds shared", "holds shared", "waits exclusive", "waits shared", "waits exclusive"})
		release(t, all[0].gets(t))
		check(t, name, all[1:], []string{"holds shared", "waits exclusive", "waits shared", "waits exclusive"})
		release(t, all[1].gets(t))
		all[2].held <- all[2].gets(t)
		check(t, name, all[2:], []string{"holds exclusive", "waits shared", "waits exclusive"})
		end(t, name, 2, all)
	})
	t.Run("a semaphore", func(t *testing.T) {
		name := prefix + "semaphore"
		s := semaphore(t, cli, name, 5)
		takes := func(n int) func(context.Context) (*lock.Hold, error) {
			return func(ctx context.Context) (*lock.Hold, error) { return s.AcquireN(ctx, n) }
		}
		var all []*waiter
		for i, acquire := range []func(context.Context) (*lock.Hold, error){takes(2), takes(3), takes(4), takes(1), write(rwmutex(t, cli, name)), takes(1)} {
			all = append(all, queued(t, cli, name, int64(i+1), acquire))
		}
		check(t, name, all, []string{
			"holds counted 2 of 5", "holds counted 3 of 5", "waits counted 4 of 5", "waits counted 1 of 5", "waits exclusive", "waits counted 1 of 5",
		})
		release(t, all[1].gets(t)) // 4 do not fit beside 2, and 1 does not overtake it
		check(t, name, append(all[:1:1], all[2:]...), []string{"holds counted 2 of 5", "waits counted 4 of 5", "waits counted 1 of 5", "waits exclusive", "waits counted 1 of 5"})
		release(t, all[0].gets(t))
		all[3].held <- all[3].gets(t)
		check(t, name, all[2:], []string{"holds counted 4 of 5", "holds counted 1 of 5", "waits exclusive", "waits counted 1 of 5"})
		end(t, name, 2, all)
	})
}

// locksBelow lists names and how many entries each has.
func locksBelow(t testing.TB, cli *clientv3.Client, prefix string, opts *lock.ListOptions) (all []string) {
	t.Helper()
	for q, err := range lock.List(bounded(t), cli, prefix, opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s: %d of %d", strings.TrimPrefix(q.Name, prefix), len(q.Entries), q.Count))
	}
	return all
}

func TestListFindsTheLocksAmongAllKeys(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for i := range 26 { // more than a page of them
		var puts []clientv3.Op
		for j := range 100 {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%splain/%03d-%03d", prefix, i, j), "x"))
		}
		if _, err := cli.Txn(bounded(t)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	var holds []*lock.Hold
	for _, name := range []string{"a", "jobs", "jobs/nightly", "plain/025-050", "z"} {
		holds = append(holds, acquire(t, mutex(t, cli, prefix+name)))
	}
	holds = append(holds, must(t)(rwmutex(t, cli, prefix+"rw").AcquireRead(bounded(t))), must(t)(semaphore(t, cli, prefix+"sem", 3).AcquireN(bounded(t), 2)))
	s := session(t, cli)
	if err := concurrency.NewMutex(s, prefix+"theirs").Lock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := concurrency.NewElection(s, prefix+"their-leader").Campaign(bounded(t), "them"); err != nil {
		t.Fatal(err)
	}
	e := election.New(cli, prefix+"leader", nil)
	defer e.Close()
	term, err := e.Campaign(bounded(t), "us")
	if err != nil {
		t.Fatal(err)
	}
	leased := clientv3.WithLease(s.Lease())
	for key, with := range map[string][]clientv3.OpOption{
		"services/web/vm-1": {leased}, "services/web/7-0": {leased}, "jobs/by-hand": nil, fmt.Sprintf("nobody/%x", int64(s.Lease())): nil,
		fmt.Sprintf("plain/%x-0", int64(s.Lease())): nil, "x/0-0": {leased}, fmt.Sprintf("slashes//%x", int64(s.Lease())): {leased},
	} {
		if _, err := cli.Put(bounded(t), prefix+key, "", with...); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a: 1 of 1", "jobs/nightly: 1 of 1", "jobs: 2 of 2", "plain/025-050: 1 of 1", "rw: 1 of 1", "sem: 1 of 1", "slashes/: 1 of 1", "theirs: 1 of 1", "z: 1 of 1"}
	sameTexts(t, locksBelow(t, cli, prefix, nil), want)
	resp, err := cli.Get(bounded(t), prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	if err != nil {
		t.Fatal(err)
	}
	var parsed []string
	for _, q := range lock.Parse(resp.Kvs, nil) {
		parsed = append(parsed, fmt.Sprintf("%s: %d of %d", strings.TrimPrefix(q.Name, prefix), len(q.Entries), q.Count))
	}
	sameTexts(t, parsed, want)
	for range lock.List(bounded(t), cli, prefix, nil) {
		break // ends it
	}
	var elections []string
	for q, err := range election.List(bounded(t), cli, prefix, nil) {
		if err != nil {
			t.Fatal(err)
		}
		elections = append(elections, fmt.Sprint(strings.TrimPrefix(q.Name, prefix), ": ", q.Candidates[0].Value))
	}
	sameTexts(t, elections, []string{"leader: us", "their-leader: them"})
	if err := term.Resign(bounded(t)); err != nil {
		t.Error(err)
	}
	for _, h := range holds {
		release(t, h)
	}
}

func TestAListOfOnePageIsOneRequest(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for i := range 10 {
		acquire(t, mutex(t, cli, fmt.Sprint(prefix, "lock", i)))
	}
	asks, sent := counted(t, cli)
	if n := len(locksBelow(t, asks, prefix, nil)); n != 10 || sent.Load() != 1 {
		t.Errorf("%d locks with %d requests, want 10 with one", n, sent.Load())
	}
}

func TestAListIsBoundedWhateverIsThere(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := rwmutex(t, cli, prefix+"lock")
	var holds []*lock.Hold
	for range 30 {
		holds = append(holds, must(t)(m.AcquireRead(bounded(t))))
	}
	sameTexts(t, locksBelow(t, cli, prefix, &lock.ListOptions{Limit: 7}), []string{"lock: 7 of 30"})
	for q := range lock.List(bounded(t), cli, prefix, &lock.ListOptions{Limit: 7}) {
		for i, e := range q.Entries {
			if e.Key != holds[i].Key() {
				t.Errorf("entry %d of those that are kept is %s, want the oldest, %s", i, e.Key, holds[i].Key())
			}
		}
	}
	for _, h := range holds {
		release(t, h)
	}
}

// hostile are values that a client which may write below a lock's name can put there.
func hostile(lease clientv3.LeaseID) map[string]string {
	huge := strings.Repeat("\x1b[2J", 70_000)
	record := func(host, command, since string) string {
		b, err := json.Marshal(map[string]any{"host": host, "pid": 7, "command": command, "since": since, "acquired": since, "nonce": "x", "data": host})
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	return map[string]string{
		fmt.Sprintf("%x-0", int64(lease)):        record("\x1b[2J\x1b[H", "a\nb", "\x1b]0;x\a"),
		fmt.Sprintf("%x-1", int64(lease)):        strings.Replace(record(huge, "c", "d"), `"data":`, `"more":`, 1),
		fmt.Sprintf("%x-2", int64(lease)):        huge,
		fmt.Sprintf("%x-3", int64(lease)):        record(strings.Repeat("h", 3000), strings.Repeat("\x1b", 500), "\n"),
		fmt.Sprintf("%x-4\x1b[2J", int64(lease)): "",
		"\x1b[2J\n\xff":                          `{"host":"\u001b[2J","pid":7}`,
	}
}

func harmless(t testing.TB, what, text string) {
	t.Helper()
	if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%s is %.300q, of %d bytes: want it printable, on one line, and short", what, text, len(text))
	}
}

func TestWhatOthersWroteIsPrintedSafelyAndShort(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	s := session(t, cli)
	n := 0
	for last, value := range hostile(s.Lease()) {
		name := fmt.Sprint(prefix, "lock", n)
		n++
		if _, err := cli.Put(bounded(t), name+"/"+last, value, clientv3.WithLease(s.Lease())); err != nil {
			t.Fatal(err)
		}
		_, err := mutex(t, cli, name).TryAcquire(bounded(t))
		if !errors.Is(err, lock.ErrTaken) {
			t.Errorf("got %v, want ErrTaken", err)
			continue
		}
		harmless(t, "ErrTaken", err.Error())
		_, err = semaphore(t, cli, name, 3).TryAcquire(bounded(t))
		if !errors.Is(err, lock.ErrTaken) {
			t.Errorf("got %v, want ErrTaken", err)
			continue
		}
		harmless(t, "ErrTaken of a semaphore", err.Error())
		q, err := lock.Entries(bounded(t), cli, name, nil)
		if err != nil || len(q.Entries) != 1 {
			t.Fatalf("%v, %v", q, err)
		}
		e := q.Entries[0]
		harmless(t, "an entry", e.String())
		if len(e.Host) > 256 || len(e.Command) > 256 || len(e.Data) > 1024 || e.Status != lock.Holds || e.Mode != lock.Exclusive {
			t.Errorf("the entry is %.500v", e)
		}
		h, err := lock.NewSemaphore(cli, prefix+"other", 1, &lock.SharedOptions{Data: strings.Repeat("x", 1025)}).Acquire(bounded(t))
		if h != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("got %v, %v, want ErrInvalid", h, err)
		}
	}
}

func FuzzNothingThatIsReadBreaksAList(f *testing.F) {
	f.Add("a/694d8f2c11a3e0b7-0", `{"pid":7,"nonce":"x"}`, int64(0x694d8f2c11a3e0b7), int64(3))
	f.Add("a/r694d8f2c11a3e0b7-0", "", int64(1), int64(3))
	f.Add("a/1-0.3of10", "", int64(1), int64(3))
	f.Add("a/1-0.-3of10", "", int64(1), int64(-3))
	f.Add("//", "\xff", int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, key, value string, lease, revision int64) {
		kvs := []*mvccpb.KeyValue{
			{Key: []byte(key), Value: []byte(value), Lease: lease, CreateRevision: revision},
			{Key: []byte("a/1-1.2of3"), Lease: 1, CreateRevision: 2, Value: []byte(value)},
		}
		for _, q := range lock.Parse(kvs, nil) {
			for _, e := range q.Entries {
				if strings.ContainsFunc(e.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q", e.String())
				}
				if _, err := json.Marshal(e); err != nil {
					t.Error(err)
				}
			}
		}
		_ = election.Parse(kvs, nil)
	})
}

func TestAParsedQueueIsAsNewAsItsNewestChange(t *testing.T) {
	var got []string
	for _, q := range lock.Parse([]*mvccpb.KeyValue{
		{Key: []byte("a/1-1"), Lease: 1, CreateRevision: 2, ModRevision: 2},
		{Key: []byte("a/2-1"), Lease: 2, CreateRevision: 3, ModRevision: 9},
		{Key: []byte("b/1-1"), Lease: 1, CreateRevision: 4, ModRevision: 5},
	}, &lock.ListOptions{Limit: math.MaxInt}) {
		got = append(got, fmt.Sprint(q.Name, " ", len(q.Entries), " ", q.Revision))
	}
	sameTexts(t, got, []string{"a 2 9", "b 1 5"})
}
