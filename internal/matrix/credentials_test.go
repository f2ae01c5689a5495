package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// Each row has a client of its own, which nothing else keeps in use: each use begins a token's time anew.
// What writes is silent for longer than a token lives until it keeps its lease alive; what reads asks more
// often, so that all are cut off for a while, too.
func TestTokensThatExpireAreRenewed(t *testing.T) {
	t.Parallel()
	const ttl = 8 * tokenTTL // a third of it is between two keepalives
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, AuthTokenTTL: tokenTTL})
	root := etcdtest.Auth(t, c)
	etcdtest.User(t, c, root, "amy", "matrix")
	tb, gates := gated(t, &shortTokens, at{endpoints: c.Endpoints(), other: root, prefix: "matrix", ttl: ttl, user: "amy"})
	keys := tb.keys(t)
	logins := tb.traffics(func(tr *traffic) int64 { return tr.logins.Load() })
	requests, began := tb.traffics(func(tr *traffic) int64 { return tr.requests.Load() }), time.Now()
	wait := func(d time.Duration) { // while root, which reads the keys, keeps its own token
		for end := time.Now().Add(d); time.Now().Before(end); <-time.After(500 * ms) {
			if _, err := root.Get(bounded(t), "matrix"); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(ttl/3 + 2*time.Second)
	for _, g := range gates {
		g.Freeze()
	}
	wait(tokenTTL + 2*time.Second) // etcd looks for tokens that have expired each second
	for _, g := range gates {
		g.Unfreeze()
	}
	// All clients fetch tokens now, for each request and stream that was silent, and etcd checks some
	// 200 passwords: seconds of a small machine under the race detector. What a call takes is another
	// matter. The Keeper alone makes no request but its own.
	ctx := bounded(t)
	var fetching sync.WaitGroup
	for _, w := range tb.handles {
		if w.handle != nil && w.row.name != keeper[0] {
			fetching.Go(func() {
				if _, err := w.place.cli.Get(ctx, "matrix"); err != nil {
					t.Errorf("%s: Get: %v", w.row.name, err)
				}
			})
		}
	}
	fetching.Wait()
	tb.each(func(t *cell, w *watched) {
		w.staysAlive(t)
		w.keyLeft(t, keys[w], time.Now())
		for _, c := range w.calls { // one after another: the last ones end what it is
			if c.name == "Wait" {
				continue // for a revision that does not come
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := c.do(ctx); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			cancel()
		}
		rate := float64(w.traffic.requests.Load()-requests[w]) / time.Since(began).Seconds()
		n, refused := w.traffic.logins.Load()-logins[w], w.traffic.refused.Load()
		t.Logf("%.1f requests a second, %d of them in all with the password; %d with a token that had expired", rate, n, refused)
		if rate > w.p.rate {
			t.Errorf("%.1f requests a second, want %g at the most", rate, w.p.rate)
		}
		if n < 1 || refused < 1 {
			t.Errorf("void: no token has expired")
		}
		if n > 15 {
			t.Errorf("the password was sent %d times", n)
		}
	})
}

// openAs opens all rows for the user amy, on one client and one Keeper, as one process does.
func openAs(t *testing.T, s *situation, c *cluster.Cluster, root *clientv3.Client) (*table, *traffic) {
	t.Helper()
	return openShared(t, s, at{endpoints: c.Endpoints(), user: "amy", other: root, prefix: "matrix", ttl: authTTL})
}

func TestARevokedRoleIsReportedWithoutSpinning(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	root := etcdtest.Auth(t, c)
	etcdtest.User(t, c, root, "amy", "matrix")
	tb, tr := openAs(t, &roleRevoked, c, root)
	end := clientv3.GetPrefixRangeEnd("matrix")
	if _, err := root.RoleRevokePermission(bounded(t), "amy", "matrix", end); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	before := tr.requests.Load()
	const without = 11 * time.Second
	given := make(chan struct{})
	var healed time.Time
	var rate float64
	go func() { // ends when the role is given back
		defer close(given)
		<-time.After(time.Until(since.Add(without)))
		rate = float64(tr.requests.Load()-before) / time.Since(since).Seconds() / float64(len(tb.handles))
		if _, err := root.RoleGrantPermission(context.WithoutCancel(t.Context()), "amy", "matrix", end, clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			t.Error(err)
		}
		// A change of rights ends all tokens: both clients have new ones before all rows ask.
		for _, cli := range []*clientv3.Client{root, tb.handles[0].place.cli} {
			if err := until(bounded(t), func() error { _, err := cli.Get(bounded(t), "matrix"); return err }); err != nil {
				t.Error(err)
			}
		}
		healed = time.Now()
	}()
	tb.each(func(t *cell, w *watched) {
		w.answered(t, given)
		if w.p.outcome == ends {
			w.endsAfter(t, since)
		}
		<-given
		t.Logf("%.1f requests a second for each row without the role", rate)
		if rate > w.p.rate {
			t.Errorf("%.1f requests a second for each row without the role, want %g at the most", rate, w.p.rate)
		}
		if w.p.outcome == back {
			w.worksAgain(t, healed)
		}
	})
}

// entrance is what leads one client to all members.
type entrance struct {
	gates   []*etcdtest.Gate
	members []string
}

// reset ends all connections, of one member after another, as they are rotated.
func (e *entrance) reset() {
	for i, g := range e.gates {
		g.SetTarget(e.members[i])
		<-time.After(500 * ms)
	}
}

// accepted is how many connections have been made to each member.
func (e *entrance) accepted() (n []int) {
	for _, g := range e.gates {
		n = append(n, g.Accepted())
	}
	return n
}

func sum(all []int) (n int64) {
	for _, m := range all {
		n += int64(m)
	}
	return n
}

// secured opens all rows at members with TLS, on one client.
func secured(t *testing.T, s *situation, ttl time.Duration) (*table, *etcdtest.Authority, *entrance) {
	t.Helper()
	ca := etcdtest.NewAuthority(t)
	server, me := ca.Issue("server", time.Hour), ca.Issue("me", time.Hour)
	safe := ca.Issue("other", time.Hour)
	c := etcdtest.NewCluster(t, &cluster.Options{ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	var through []string
	in := &entrance{}
	for _, e := range c.Endpoints() {
		member := strings.TrimPrefix(e, "https://")
		g := etcdtest.NewGate(t, member)
		in.gates, in.members = append(in.gates, g), append(in.members, member)
		through = append(through, "https://"+g.Addr())
	}
	dial := func(endpoints []string, cert string) (*clientv3.Client, *traffic) {
		tr := &traffic{}
		opts := &client.Options{Endpoints: endpoints, CACert: ca.File, Cert: cert, Key: cert, DialOptions: []grpc.DialOption{grpc.WithStatsHandler(tr)}}
		cli, err := client.Dial(bounded(t), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cli.Close() })
		return cli, tr
	}
	other, _ := dial(c.Endpoints(), safe)
	cli, tr := dial(through, me)
	tb := openRows(t, s, at{other: other, prefix: "matrix", ttl: ttl}, func(testing.TB) (*clientv3.Client, *traffic) { return cli, tr })
	return tb, ca, in
}

func TestRotatedCertificatesFailNoOperation(t *testing.T) {
	t.Parallel()
	const rounds, operations = 2, 5
	tb, ca, in := secured(t, &certRotated, shortTTL)
	keys := tb.keys(t)
	over := make(chan struct{})
	done := make(map[*watched]*atomic.Int64)
	for _, w := range tb.handles {
		done[w] = new(atomic.Int64)
	}
	go func() { // ends with the last round
		defer close(over)
		for range rounds {
			ca.Issue("server", time.Hour)
			ca.Issue("me", time.Hour)
			connections, before := in.accepted(), make(map[*watched]int64)
			for w, n := range done {
				before[w] = n.Load()
			}
			in.reset()
			if err := until(bounded(t), func() error { // otherwise nothing was tested
				for w, n := range done {
					if n := n.Load() - before[w]; n < operations {
						return fmt.Errorf("void: %d operations of %s since the certificates were replaced, want %d", n, w.row.name, operations)
					}
				}
				for i, n := range in.accepted() {
					if n == connections[i] {
						return fmt.Errorf("void: no new connection to %s", in.members[i])
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	tb.each(func(t *cell, w *watched) {
		for going := true; going; {
			select {
			case <-over:
				going = false
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := w.calls[0].do(ctx); err != nil {
				t.Errorf("%s: %v", w.calls[0].name, err)
			}
			cancel()
			done[w].Add(1)
			<-time.After(50 * ms) // the load
		}
		t.Logf("%d operations", done[w].Load())
		w.staysAlive(t)
		w.keyLeft(t, keys[w], time.Now())
	})
}

func TestAnExpiredCertificateIsATypedError(t *testing.T) {
	t.Parallel()
	tb, ca, in := secured(t, &certExpired, 8*time.Second)
	keys := tb.keys(t)
	ca.Issue("me", -time.Minute)
	in.reset()
	since := time.Now()
	for _, w := range tb.handles {
		w.keyStays(t, keys[w])
	}
	var handshakes float64
	counted := make(chan struct{})
	go func() { // ends after 6 s
		defer close(counted)
		<-time.After(2 * time.Second) // each connection is found refused once
		before, began := sum(in.accepted()), time.Now()
		<-time.After(4 * time.Second) // the time that is counted
		handshakes = paced(sum(in.accepted())-before, time.Since(began))
	}()
	if err := until(bounded(t), func() error { return refusedCertificate(t.Context(), tb.handles[0].place.cli) }); err != nil {
		t.Fatalf("the client never learns that its certificate is refused: %v", err)
	}
	inTime(t, "the cause is known", time.Since(since), 5*time.Second)
	tb.each(func(t *cell, w *watched) {
		w.callAll(t, 1500*ms, func(c call, _ time.Duration, err error) {
			t.Logf("%s: %v", c.name, err)
			if c.name == "Wait" {
				return // for a revision that does not come
			}
			if c.name == "Txn" || err == nil && c.ends() {
				return // clientv3's own, or what goes on in the background
			}
			if w.p.err == deadline && (certificate.is(err) || strings.Contains(fmt.Sprint(err), "eadline")) {
				return // as gRPC and net/http say it
			}
			if !w.p.err.is(err) {
				t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
			}
		})
		w.keyLeft(t, keys[w], since)
	})
	<-counted
	t.Logf("%.1f connections a second of all handles on one client", handshakes)
	if handshakes > 2 {
		t.Errorf("%.1f connections a second of all handles on one client, want 2 at the most", handshakes)
	}
}

// refusedCertificate is nil once a client has been told that its certificate is refused. In TLS 1.3 it
// reads that only if the member has not closed the connection before, and tries again otherwise.
func refusedCertificate(ctx context.Context, cli *clientv3.Client) error {
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := k.Lease(ctx); !certificate.is(err) {
		return fmt.Errorf("%w, want %s", err, certificate.name)
	}
	return nil
}

func TestWithoutSpaceCallsSaySoAndHandlesStay(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 16 << 20})
	other := etcdtest.Client(t, c)
	const ttl = 3 * time.Second
	tb := open(t, &noSpaceLeft, at{endpoints: c.Endpoints(), other: other, prefix: "matrix", ttl: ttl})
	keys := tb.keys(t)
	ctx := bounded(t)
	for i := 0; ; i++ { // Putting to one key leaves revisions that compaction removes.
		if _, err := other.Put(ctx, "fill", strings.Repeat("x", 1<<20)); err != nil {
			if !noSpace.is(err) {
				t.Fatal(err)
			}
			break
		}
	}
	<-time.After(ttl + time.Second) // each lease has been renewed, or is gone
	t.Run("without space", func(t *testing.T) {
		tb.t = t
		tb.each(func(t *cell, w *watched) {
			if w.gone == nil {
				w.staysAlive(t)
				w.keyLeft(t, keys[w], time.Now())
				return
			}
			// What reads works if it shows what can be done without space.
			ctx := bounded(t)
			if _, err := w.place.other.Delete(ctx, keys[w]); err != nil {
				t.Fatalf("%v", err)
			}
			if err := w.gone(ctx); err != nil {
				t.Errorf("%v", err)
			}
		})
	})
	tb.t = t
	tb.each(func(t *cell, w *watched) {
		w.callAll(t, 2*time.Second, func(c call, _ time.Duration, err error) {
			t.Logf("%s: %v", c.name, err)
			switch {
			case w.p.err == nil || c.ends() || c.name == "Confirm" || c.name == "Current":
				if err != nil && c.name != "Wait" {
					t.Errorf("%s, which needs no space: %v", c.name, err)
				}
			case c.name == "Drain" || c.name == "Update":
				if !w.p.err.is(err) {
					t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
				}
			case !w.p.err.is(err):
				t.Errorf("%s: %v, want %s", c.name, err, w.p.err.name)
			}
		})
	})
	resp, err := other.Get(ctx, "fill", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	_, e1 := other.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	_, e2 := other.Defragment(ctx, c.Endpoints()[0])
	_, e3 := other.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	if err := errors.Join(e1, e2, e3); err != nil {
		t.Fatal(err)
	}
	t.Run("afterwards", func(t *testing.T) {
		tb.t = t
		tb.each(func(t *cell, w *watched) {
			if strings.HasPrefix(w.row.name, "Hold") || w.row.name == "Term" {
				return // its calls have released it
			}
			w.staysAlive(t)
			w.keyLeft(t, keys[w], time.Now())
		})
	})
}

// odd are names that something on the way could take for something else.
var odd = []string{
	"a b", "a%2Fb", "a%b", "a#b?c=d", `a"b'c`, "a\\b", "a;b|c&d", "$HOME", "`id`", "[::1]:80", "日本/ä", "é", "a\u202eb", "..", ".", "-", "*",
	"a\nb", "a\x1b[2Jb", "a\x00b", "a\x7fb", "\xff\xfe", "a//b", "/a", "a/", "", strings.Repeat("x", 300), strings.Repeat("y", 5000),
}

func TestOddNamesWorkOrAreRefused(t *testing.T) {
	a := shared(t, 10*time.Second)
	var wg sync.WaitGroup
	all := rows()
	cells := make([]*cell, len(all))
	for i, r := range all {
		p, _ := oddNames.promised(r.name)
		cells[i] = &cell{ctx: t.Context()}
		if p.not != "" {
			continue
		}
		cli, _ := connect(t, a.endpoints, "")
		wg.Go(func() {
			cells[i].run(func() {
				for n, name := range odd {
					tryOdd(cells[i], r, p, &place{cli: cli, other: a.other, name: fmt.Sprint(a.prefix, ".", i, ".", n, "/", name), ttl: a.ttl}, name)
				}
			})
		})
	}
	wg.Wait()
	for i, r := range all {
		p, _ := oddNames.promised(r.name)
		t.Run(r.name, func(t *testing.T) {
			if p.not != "" {
				t.Skip("does not apply: " + p.not)
			}
			cells[i].tell(t)
		})
	}
}

// Options.Dir, IDs and addresses, which are no names of handles.
func TestOddDirectoriesAndInstancesWorkOrAreRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, name := range odd {
		if name != "" && !strings.ContainsAny(name, "/\x00") && len(name) < 200 {
			dir := filepath.Join(t.TempDir(), name)
			h, err := openView(bounded(t), &place{cli: cli, other: cli, name: prefix + "saved", dir: dir})
			if err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
				continue
			}
			if err := until(bounded(t), func() error {
				files, err := os.ReadDir(dir)
				if err == nil && len(files) == 0 && name != "." && name != ".." {
					err = errors.New("nothing is saved there")
				}
				return err
			}); err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
			}
			if err := errors.Join(h.works(bounded(t)), h.close()); err != nil {
				t.Errorf("Options.Dir %q: %v", name, err)
			}
		}
		for what, i := range map[string]registry.Instance{
			"ID":      {Service: "odd", ID: name, Addr: "127.0.0.1:80"},
			"Addr":    {Service: "odd", ID: "addr", Addr: name + ":80"},
			"Version": {Service: "odd", ID: "version", Addr: "127.0.0.1:80", Version: name},
		} {
			if what == "ID" && name == "" || what == "Addr" && (name == "" || name == "*") {
				continue // these ask for what fits
			}
			reg, err := registry.Register(bounded(t), cli, i, &registry.Options{Prefix: prefix})
			if err != nil {
				if !errors.Is(err, registry.ErrInvalid) {
					t.Errorf("%s %.40q: %v, want it registered, or ErrInvalid", what, name, err)
				}
				continue
			}
			list, err := discovery.List(bounded(t), cli, "odd", &discovery.Options{Prefix: prefix})
			if err != nil || len(list) != 1 || list[0].ID != i.ID || list[0].Addr != i.Addr || list[0].Version != i.Version {
				t.Errorf("%s %.40q: registered, and listed as %v, %v", what, name, list, err)
			}
			if err := reg.Close(); err != nil {
				t.Errorf("%s %.40q: %v", what, name, err)
			}
		}
	}
}

func tryOdd(t tester, r row, p promise, at *place, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	defer func() { // whether it was opened or refused
		within := *at
		within.name = strings.TrimSuffix(at.name, "/"+name)
		if err := until(ctx, func() error { return bare(ctx, &within, "/") }); err != nil {
			t.Errorf("%.40q: %v", name, err)
		}
	}()
	h, err := r.open(ctx, at)
	if err != nil {
		if p.err != nil && !p.err.is(err) || ctx.Err() != nil {
			t.Errorf("%.40q: %v, want it to work, or to be refused", name, err)
		} else {
			t.Logf("%.40q is refused: %v", name, err)
		}
		return
	}
	if err := h.works(ctx); err != nil {
		t.Errorf("%.40q: opened, and does not work: %v", name, err)
	}
	if err := h.close(); err != nil {
		t.Errorf("%.40q: Close: %v", name, err)
	}
}
