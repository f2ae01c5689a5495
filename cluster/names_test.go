package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestAFaultOnAllIsOneChangeAndSoIsWhatUndoesIt(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	put(t, etcdtest.Client(t, c), "k", "v")
	for _, tc := range []struct {
		what         string
		do, undo     func() (*cluster.Change, error)
		did, undid   string
		status       cluster.Status
		lost, remedy string
	}{
		{
			"pause", func() (*cluster.Change, error) { return c.Pause(t.Context(), "all") },
			func() (*cluster.Change, error) { return c.Resume(t.Context(), "all") },
			"etcd1, etcd2, etcd3 paused", "etcd1, etcd2, etcd3 resumed", cluster.Paused, "0/3 up, 2 needed · no writes until 2 more are back", " · resume",
		},
		{
			"kill", func() (*cluster.Change, error) { return c.Kill(t.Context(), "all") },
			func() (*cluster.Change, error) { return c.Start(t.Context(), "all") },
			"etcd1, etcd2, etcd3 killed", "etcd1, etcd2, etcd3 started", cluster.Killed, "0/3 up, 2 needed · no writes until 2 more are back", " · start",
		},
		{
			"stop", func() (*cluster.Change, error) { return c.Stop(t.Context(), "all") },
			func() (*cluster.Change, error) { return c.Start(t.Context(), "all") },
			"etcd1, etcd2, etcd3 stopped", "etcd1, etcd2, etcd3 started", cluster.Stopped, "0/3 up, 2 needed · no writes until 2 more are back", " · start",
		},
		{
			"isolate", func() (*cluster.Change, error) { return c.Isolate(t.Context(), "all") },
			func() (*cluster.Change, error) { return c.Heal(t.Context()) },
			"etcd1, etcd2, etcd3 isolated", "network healed", cluster.Running, "3/3 run, but no 2 of them reach one another · no writes until the network is healed", " · heal",
		},
	} {
		t.Run(tc.what, func(t *testing.T) {
			ch := did(t)(tc.do())
			if want := tc.did + " · QUORUM LOST: " + tc.lost + tc.remedy; ch.String() != want {
				t.Errorf("got  %q,\nwant %q", ch, want)
			}
			for _, name := range c.Names() {
				if got := member(t, c, name).Status; got != tc.status {
					t.Errorf("%s is %s, want %s", name, got, tc.status)
				}
			}
			ch = did(t)(tc.undo())
			if ch.Did != tc.undid || ch.Quorum.Up != 3 || ch.Quorum.Leader == "" {
				t.Errorf("got %q, want %q with all three and a leader", ch, tc.undid)
			}
			put(t, etcdtest.Client(t, c), "k", tc.what)
		})
	}
}

func TestAllAreThoseThatAFaultCanBeDoneTo(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	for _, tc := range []struct {
		do  func() (*cluster.Change, error)
		did string
	}{
		{func() (*cluster.Change, error) { return c.Kill(t.Context(), "etcd1") }, "etcd1 killed"},
		{func() (*cluster.Change, error) { return c.Pause(t.Context(), "all") }, "etcd2, etcd3 paused"},
		{func() (*cluster.Change, error) { return c.Resume(t.Context(), "all") }, "etcd2, etcd3 resumed"},
		{func() (*cluster.Change, error) { return c.Start(t.Context(), "all") }, "etcd1 started"},
	} {
		if ch := did(t)(tc.do()); ch.Did != tc.did {
			t.Errorf("got %q, want %q", ch.Did, tc.did)
		}
	}
	for what, do := range map[string]func() (*cluster.Change, error){
		"no member is paused":                       func() (*cluster.Change, error) { return c.Resume(t.Context(), "all") },
		"no member is stopped, killed or failed":    func() (*cluster.Change, error) { return c.Start(t.Context(), "all") },
		`"all": the members are etcd1, etcd2, etcd`: func() (*cluster.Change, error) { return c.MoveLeader(t.Context(), "all") },
	} {
		_, err := do()
		if err == nil || !strings.Contains(err.Error(), what) || !errors.Is(err, cluster.ErrState) && !errors.Is(err, cluster.ErrInvalid) {
			t.Errorf("got %v, want %q", err, what)
		}
	}
}

func TestAFollowerIsAMemberThatIsUpAndDoesNotLead(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	first, err := c.MemberName("follower")
	if err != nil || first == c.Leader() {
		t.Fatalf("got %q, %v, want a member that is not %s", first, err, c.Leader())
	}
	if ch := did(t)(c.Pause(t.Context(), "follower")); ch.Did != first+" paused" {
		t.Errorf("got %q, want %s paused", ch, first)
	}
	second, err := c.MemberName("follower")
	if err != nil || second == c.Leader() || second == first {
		t.Errorf("got %q, %v, want the other one", second, err)
	}
	if _, err := c.Pause(t.Context(), "leader"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.MemberName("follower"); !errors.Is(err, cluster.ErrNoLeader) {
		t.Errorf("without a quorum: got %q, %v, want ErrNoLeader", got, err)
	}
}

func TestTheRemediesAreThoseThatHelp(t *testing.T) {
	for _, tc := range []struct {
		q    cluster.Quorum
		want string
	}{
		{cluster.Quorum{Size: 3, Need: 2, Up: 1, Running: 1, Paused: 2}, "QUORUM LOST: 1/3 up, 2 needed · no writes until 1 more is back · resume"},
		{cluster.Quorum{Size: 3, Need: 2, Up: 1, Running: 1, Paused: 1, Down: 1}, "QUORUM LOST: 1/3 up, 2 needed · no writes until 1 more is back · start or resume"},
		{cluster.Quorum{Size: 3, Need: 2, Running: 0, Down: 3, Cut: true}, "QUORUM LOST: 0/3 up, 2 needed · no writes until 2 more are back · start or heal"},
		{cluster.Quorum{Size: 5, Need: 3, Up: 2, Running: 4, Down: 1, Cut: true}, "QUORUM LOST: 4/5 run, but no 3 of them reach one another · no writes until the network is healed · heal"},
		{cluster.Quorum{Size: 3, Need: 2, Starting: 2, Down: 1}, "QUORUM LOST: 0/3 up, 2 starting, 2 needed · no writes until they serve · start"},
	} {
		if got := tc.q.String(); got != tc.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", tc.q, got, tc.want)
		}
	}
}

func TestAFaultThatFailsAtOneMemberNamesThoseItWasDoneTo(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	restore := c.LoseNode("etcd3")
	defer restore()
	ch, err := c.Pause(t.Context(), "all")
	if want := "cluster: etcd3 ended meanwhile; already paused: etcd1, etcd2"; ch != nil || !errors.Is(err, cluster.ErrState) || err.Error() != want {
		t.Errorf("got %v, %v, want %q", ch, err, want)
	}
	restore()
	did(t)(c.Pause(t.Context(), "etcd3"))
	restore = c.LoseNode("etcd2")
	defer restore()
	ch, err = c.Resume(t.Context(), "all")
	if want := "cluster: etcd2 ended meanwhile; already resumed: etcd1"; ch != nil || !errors.Is(err, cluster.ErrState) || err.Error() != want {
		t.Errorf("got %v, %v, want %q", ch, err, want)
	}
}

func TestErrorsOfSeveralMembersAreOneLine(t *testing.T) {
	err := cluster.JoinErrors([]error{errors.New("cluster: etcd1 does not end"), nil, cluster.ErrClosed})
	if want := "cluster: etcd1 does not end; closed"; !errors.Is(err, cluster.ErrClosed) || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if err := cluster.JoinErrors([]error{nil, nil}); err != nil {
		t.Errorf("got %v of no errors", err)
	}
}
