package watch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/watch"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// text is a batch in short: for each change its key, what it was and what it is.
func text(b watch.Batch, prefix string) string {
	var all []string
	for _, c := range b.Changes {
		was, is := "-", "-"
		if c.Old != nil {
			was = c.Old.Value
		}
		if c.New != nil {
			is = c.New.Value
		}
		all = append(all, fmt.Sprintf("%s:%s>%s", strings.TrimPrefix(c.Key, prefix), was, is))
	}
	return strings.Join(all, " ")
}

func TestEachTransactionIsABatch(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	s := open(t, cli, prefix, "", 0)
	next := batches(t, s)
	if got := text(s.Present(), prefix); got != "a:->1" || s.Present().Reason != watch.Initial {
		t.Errorf("present: %q", got)
	}
	if _, err := cli.Txn(t.Context()).Then(clientv3.OpPut(prefix+"a", "2"), clientv3.OpPut(prefix+"b", "1")).Commit(); err != nil {
		t.Fatal(err)
	}
	last := del(t, cli, prefix+"a")
	for _, want := range []string{"a:1>2 b:->1", "a:2>-"} {
		b := next()
		if got := text(b, prefix); got != want || b.Reason != watch.Changed {
			t.Errorf("got %q (%s), want %q", got, b.Reason, want)
		}
		if want == "a:2>-" && b.Revision != last {
			t.Errorf("revision %d, want %d", b.Revision, last)
		}
	}
}

func TestWithARevisionThePastComesFirstAndThenWhatFollows(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	from := put(t, cli, prefix+"a", "2")
	put(t, cli, prefix+"b", "1")
	del(t, cli, prefix+"a") // nothing in the copy tells of it
	for name, tc := range map[string]struct {
		first, end string
		want       []string
	}{
		"prefix":  {prefix, "", []string{"a:1>2", "b:->1", "a:2>-", "a:->3"}},
		"one key": {prefix + "a", prefix + "a\x00", []string{"a:1>2", "a:2>-", "a:->3"}},
		"range":   {prefix + "b", prefix + "c", []string{"b:->1", "b:1>2"}},
	} {
		t.Run(name, func(t *testing.T) {
			next := batches(t, open(t, cli, tc.first, tc.end, from))
			for i, want := range tc.want {
				if i == len(tc.want)-1 {
					put(t, cli, prefix+"a", "3")
					put(t, cli, prefix+"b", "2")
				}
				if got := text(next(), prefix); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			del(t, cli, prefix+"a")
			put(t, cli, prefix+"b", "1")
		})
		from = put(t, cli, prefix+"x", "")
		del(t, cli, prefix+"b")
		put(t, cli, prefix+"a", "1")
		from = put(t, cli, prefix+"a", "2")
		put(t, cli, prefix+"b", "1")
		del(t, cli, prefix+"a")
	}
}

func TestARevisionThatIsYetToComeIsTheFirstOne(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	now := put(t, cli, prefix+"a", "1")
	next := batches(t, open(t, cli, prefix, "", now+2))
	put(t, cli, prefix+"a", "2")
	put(t, cli, prefix+"a", "3")
	if got := text(next(), prefix); got != "a:2>3" {
		t.Errorf("got %q, want the change of revision %d first", got, now+2)
	}
}

func TestARevisionThatWasCompactedAwayIsRefusedAndTheOldestIsNamed(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	put(t, cli, "a", "1")
	oldest := put(t, cli, "a", "2")
	if _, err := cli.Compact(t.Context(), oldest); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	for _, err := range open(t, cli, "a", "", 1).Batches(ctx) {
		var compacted *watch.CompactedError
		if !errors.As(err, &compacted) || compacted.Oldest != oldest || compacted.Revision != 1 {
			t.Errorf("got %v, want that revision 1 is compacted and %d is the oldest", err, oldest)
		}
	}
	if got := text(batches(t, open(t, cli, "a", "", oldest))(), ""); got != "a:->2" && got != "a:1>2" {
		t.Errorf("from the oldest: got %q", got)
	}
}

func TestWhatWasCompactedAwayMeanwhileIsFoundByComparing(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	direct := etcdtest.Client(t, c)
	gate := etcdtest.NewGate(t, strings.TrimPrefix(direct.Endpoints()[0], "http://"))
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	put(t, direct, "p/a", "1")
	put(t, direct, "p/b", "1")
	s := open(t, cli, "p/", "", 0)
	next := batches(t, s)
	gate.SetTarget("")
	put(t, direct, "p/a", "2")
	put(t, direct, "p/a", "3")
	del(t, direct, "p/b")
	last := put(t, direct, "p/c", "1")
	if _, err := direct.Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	gate.SetTarget(strings.TrimPrefix(direct.Endpoints()[0], "http://"))
	var p watch.Pending
	for p.Add(next()); ; p.Add(next()) {
		b := p.Take()
		if b.Revision >= last {
			got := text(b, "p/")
			for _, want := range []string{"a:1>3", "b:1>-", "c:->1"} {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, want %q in it", got, want)
				}
			}
			if b.Reason != watch.Reread || b.Because == "" {
				t.Errorf("reason %q because %q, want %q and why", b.Reason, b.Because, watch.Reread)
			}
			return
		}
		p.Add(b)
	}
}
