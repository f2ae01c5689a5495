package cluster_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestMain(m *testing.M) {
	tests := etcdtest.Main(m)
	if os.Getenv(parentEnv) != "" {
		os.Exit(runParent())
	}
	means.TestsAtATime(4)
	goleak.VerifyTestMain(tests)
}

// did fails the test unless the fault was carried out.
func did(t *testing.T) func(*cluster.Change, error) *cluster.Change {
	return func(ch *cluster.Change, err error) *cluster.Change {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Log(ch)
		return ch
	}
}

// at is a client of one member alone.
func at(t *testing.T, c *cluster.Cluster, name string) *clientv3.Client {
	t.Helper()
	endpoint, err := c.Endpoint(name)
	if err != nil {
		t.Fatal(err)
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

func put(t *testing.T, cli *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, key, value); err != nil {
		t.Fatalf("put %s at %v: %v", key, cli.Endpoints(), err)
	}
}

func member(t *testing.T, c *cluster.Cluster, name string) cluster.MemberState {
	t.Helper()
	s := c.State()
	i := slices.IndexFunc(s.Members, func(m cluster.MemberState) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no member %q in %+v", name, s)
	}
	return s.Members[i]
}

func TestAFreshClusterHasALeaderAndServesThroughEveryMember(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts cluster.Options
		want int
	}{
		{"three processes", cluster.Options{}, 3},
		{"one process", cluster.Options{Members: 1}, 1},
		{"three in this process", cluster.Options{InProcess: true}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := etcdtest.NewCluster(t, &tc.opts)
			s := c.State()
			if len(s.Members) != tc.want || s.Quorum.Up != tc.want || s.Quorum.Leader == "" {
				t.Errorf("got %+v, want %d members up and a leader", s, tc.want)
			}
			pids := make(map[int]bool)
			for _, m := range s.Members {
				put(t, at(t, c, m.Name), "through", m.Name)
				pids[m.PID] = true
			}
			if want := map[bool]int{true: 1, false: tc.want}[tc.opts.InProcess]; len(pids) != want {
				t.Errorf("members run in %d processes, want %d", len(pids), want)
			}
			got, err := at(t, c, "etcd1").Get(t.Context(), "", clientv3.WithPrefix())
			if err != nil || len(got.Kvs) != 1 {
				t.Errorf("keys: got %v, %v, want only our own", got, err)
			}
		})
	}
}

func TestAKilledLeaderIsReplacedAndComesBackWithItsData(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	put(t, cli, "before", "x")
	old := c.Leader()
	ch := did(t)(c.Kill(t.Context(), "leader"))
	if ch.Quorum.Up != 2 || ch.CanLose != 0 || ch.Quorum.Leader == old || ch.Quorum.Leader == "" || ch.Took <= 0 {
		t.Errorf("kill of %s: got %+v, want a new leader of 2/3 after a measured time", old, ch)
	}
	if got := ch.String(); !strings.HasPrefix(got, old+" killed · quorum 2/3 · new leader ") || !strings.HasSuffix(got, " · can lose 0 more") {
		t.Errorf("got line %q", got)
	}
	if _, err := net.Dial("tcp", member(t, c, old).Client); err == nil {
		t.Error("the client port of a killed member accepts connections")
	}
	put(t, cli, "meanwhile", "y")
	did(t)(c.Start(t.Context(), old))
	resp, err := at(t, c, old).Get(t.Context(), "meanwhile")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("get from %s after its return: %v, %v", old, resp, err)
	}
}

func TestLosingQuorumIsCarriedOutAndReported(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	did(t)(c.Kill(t.Context(), "etcd1"))
	ch := did(t)(c.Pause(t.Context(), "etcd2"))
	if ch.Quorum.Held() || !strings.Contains(ch.String(), "QUORUM LOST: 1/3 up, 2 needed") {
		t.Errorf("got %q", ch)
	}
	ch = did(t)(c.Resume(t.Context(), "etcd2"))
	if !ch.Quorum.Held() || ch.Quorum.Leader == "" {
		t.Errorf("after resume: got %+v, want quorum and a leader", ch)
	}
	put(t, at(t, c, "etcd3"), "k", "v")
}

func TestAMemberThatStartsIsCountedAmongThoseThatAreBack(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	for _, name := range c.Names() {
		did(t)(c.Kill(t.Context(), name))
	}
	ch := did(t)(c.Start(t.Context(), "etcd1"))
	if want := "QUORUM LOST: 0/3 up, 1 starting, 2 needed · no writes until 1 more is back"; !strings.Contains(ch.String(), want) {
		t.Errorf("got %q, want %q", ch, want)
	}
	ch = did(t)(c.Start(t.Context(), "etcd2"))
	if !ch.Quorum.Held() || ch.Quorum.Leader == "" {
		t.Errorf("got %q, want a quorum of two", ch)
	}
}

func TestAFaultWhoseResultIsNotKnownSaysSo(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond) // no election is so fast
	defer cancel()
	ch, err := c.Kill(ctx, "leader")
	if ch != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "killed, but the wait for the members to agree on a leader ended early") {
		t.Errorf("got %v, %v, want what was done and that its end is not known", ch, err)
	}
}

func TestCloseEndsAFaultAndLeavesNoMember(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for range 5 {
		c := etcdtest.NewCluster(t, &cluster.Options{DataDir: dir})
		var both sync.WaitGroup
		both.Go(func() { _, _ = c.Restart(t.Context(), "etcd1") }) // its outcome is a matter of luck
		both.Go(func() {
			for range 100 {
				_ = c.State()
			}
		})
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		both.Wait()
		for _, m := range c.State().Members {
			if m.PID != 0 {
				t.Errorf("%s (pid %d) is %s after Close", m.Name, m.PID, m.Status)
			}
		}
	}
}

func TestAWebPageCannotReadAMember(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.Endpoints()[0]+"/version", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://elsewhere.example")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("allowed origin %q, want none", got)
	}
}

func TestLeadershipMovesToTheNamedMember(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	for range 2 {
		for _, name := range c.Names() {
			if name == c.Leader() {
				if _, err := c.MoveLeader(t.Context(), name); !errors.Is(err, cluster.ErrState) {
					t.Errorf("move to the leader itself: got %v, want ErrState", err)
				}
				continue
			}
			if ch := did(t)(c.MoveLeader(t.Context(), name)); ch.Quorum.Leader != name {
				t.Errorf("got leader %s, want %s", ch.Quorum.Leader, name)
			}
		}
	}
	old := c.Leader()
	if ch := did(t)(c.MoveLeader(t.Context(), "")); ch.Quorum.Leader == old {
		t.Errorf("got leader %s again, want any other", old)
	}
}

func TestAGracefulStopHandsLeadershipOver(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	old := c.Leader()
	cli := etcdtest.Client(t, c) // an open connection must not hold the stop up
	put(t, cli, "k", "v")
	did(t)(c.Stop(t.Context(), "leader"))
	if s := member(t, c, old); s.Status != cluster.Stopped || s.PID != 0 {
		t.Errorf("got %+v, want it stopped", s)
	}
	did(t)(c.Start(t.Context(), old))
	ch := did(t)(c.Restart(t.Context(), "leader"))
	if ch.Restored <= 0 || ch.Quorum.Up != 3 {
		t.Errorf("got %+v, want 3 up and the time the member took", ch)
	}
}

func TestAMemberThatEndsByItselfIsReportedWithItsReason(t *testing.T) {
	var log records
	c := etcdtest.NewCluster(t, &cluster.Options{Logger: log.logger()})
	p, err := os.FindProcess(member(t, c, "etcd2").PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil { // from outside, not by Kill
		t.Fatal(err)
	}
	log.wait(t, "member ended: signal: killed")
	if got := member(t, c, "etcd2"); got.Status != cluster.Failed || got.Reason != "signal: killed" {
		t.Errorf("got %+v, want it failed with its reason", got)
	}
	did(t)(c.Start(t.Context(), "etcd2"))
}

func TestARemovedMemberIsReportedWithItsReason(t *testing.T) {
	t.Parallel()
	for what, inProcess := range map[string]bool{"a process": false, "in this process": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var log records
			c := etcdtest.NewCluster(t, &cluster.Options{InProcess: inProcess, Logger: log.logger()})
			name, err := c.MemberName("follower")
			if err != nil {
				t.Fatal(err)
			}
			remove(t, c, name)
			log.wait(t, "member ended: ")
			if got := member(t, c, name); got.Status != cluster.Failed || !strings.Contains(got.Reason, "permanently removed from the cluster") {
				t.Errorf("got %+v, want it failed, as it was removed", got)
			}
		})
	}
}

// remove removes a member from the cluster by etcd's own request.
func remove(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	id, err := strconv.ParseUint(member(t, c, name).ID, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	cli := at(t, c, c.Leader())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := cli.MemberRemove(ctx, id)
		if err == nil {
			return
		}
		if !errors.Is(err, rpctypes.ErrUnhealthy) { // members must have been connected for 5 s
			t.Fatal(err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

func TestFaultsNameWhatIsWrongWithTheirTarget(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	inProcess := etcdtest.NewCluster(t, &cluster.Options{InProcess: true, Members: 1})
	for _, tc := range []struct {
		what string
		do   func() (*cluster.Change, error)
		want error
		text string
	}{
		{"an unknown member", func() (*cluster.Change, error) { return c.Kill(t.Context(), "etcd9") }, cluster.ErrInvalid, `"etcd9": the members are etcd1, etcd2, etcd3, leader, follower, all`},
		{"start of a running member", func() (*cluster.Change, error) { return c.Start(t.Context(), "etcd1") }, cluster.ErrState, "etcd1 is already running"},
		{"resume of a running member", func() (*cluster.Change, error) { return c.Resume(t.Context(), "etcd1") }, cluster.ErrState, "etcd1 is running, not paused"},
		{"a pause in this process", func() (*cluster.Change, error) { return inProcess.Pause(t.Context(), "etcd1") }, cluster.ErrInProcess, "start the cluster without InProcess"},
		{"a move with no member to move to", func() (*cluster.Change, error) { return inProcess.MoveLeader(t.Context(), "") }, cluster.ErrNoLeader, "no other member is up"},
	} {
		if _, err := tc.do(); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: got %v, want %v with %q", tc.what, err, tc.want, tc.text)
		}
	}
}

func TestAMemberInThisProcessStopsAndStarts(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{InProcess: true})
	did(t)(c.Stop(t.Context(), "leader"))
	if c.Leader() == "" {
		t.Error("no leader after a graceful stop of one of three")
	}
	did(t)(c.Restart(t.Context(), "leader"))
}

func TestAClosedClusterRefusesFaultsAndClosesAgain(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{InProcess: true, Members: 1})
	dir := c.State().DataDir
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Restart(t.Context(), "etcd1"); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("temporary data %s is still there: %v", dir, err)
	}
}

func TestBadOptionsAreRefusedBeforeAnythingStarts(t *testing.T) {
	for _, opts := range []cluster.Options{
		{Members: 2}, {Members: 7}, {Members: -1}, {DataDir: "a\x00b"}, {ClientTLS: &cluster.TLS{CertFile: "x"}},
		{BcryptCost: 3}, {BcryptCost: 32}, {BcryptCost: -1}, {AuthTokenTTL: 1500 * time.Millisecond},
	} {
		c, err := cluster.Start(t.Context(), &opts)
		if !errors.Is(err, cluster.ErrInvalid) || c != nil {
			t.Errorf("%+v: got %v, %v, want ErrInvalid", opts, c, err)
		}
	}
}

func TestACancelledStartLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := cluster.Start(ctx, &cluster.Options{AnyPort: true})
	if err == nil {
		c.Close()
		t.Fatal("three processes were ready within 50 ms: this test needs a shorter bound")
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v, %v", tmp, left, err)
	}
}
