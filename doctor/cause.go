package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// ErrNoQuorum: members answer, and too few of them follow one leader. Until more do, etcd answers no write and
// no linearizable read.
var ErrNoQuorum = errors.New("doctor: no quorum")

// Cause tells why a request got no answer. It asks each member for its state, as Status does, and so ends after
// twice Options.Timeout at the latest. opts may be nil.
//
// It is nil if all members answer and follow one leader: then the request was slow, or the trouble is over. Otherwise it is
// ErrNoQuorum, ErrUnreachable, an error that names the members that do not answer, ErrDenied, or ctx's error. The text names
// each endpoint.
func Cause(ctx context.Context, cli *clientv3.Client, opts *Options) error {
	c, err := Status(ctx, cli, opts)
	if err != nil {
		return err
	}
	return c.cause()
}

func (c *Cluster) cause() error {
	var answer, silent []string
	for i := range c.Members {
		switch m := &c.Members[i]; {
		case !m.Reachable && m.Started():
			silent = append(silent, m.place()+": "+m.Problem)
		case m.Reachable && !m.IsLearner:
			answer = append(answer, m.place())
		}
	}
	members := "members"
	if c.Voters < len(c.Members) {
		members = "voting members"
	}
	switch {
	case !c.HasQuorum() && len(answer) >= c.Quorum:
		return errtext.New("doctor: "+c.noQuorum()+after(silent), ErrNoQuorum)
	case !c.HasQuorum():
		where := ""
		if len(answer) > 0 {
			where = " (" + strings.Join(answer, ", ") + ")"
		}
		return errtext.New(fmt.Sprintf("doctor: no quorum: %d of %d %s answer%s, %d are necessary%s", len(answer), c.Voters, members, where, c.Quorum, after(silent)), ErrNoQuorum)
	case len(silent) > 0:
		return fmt.Errorf("doctor: the cluster has a quorum%s", after(silent))
	}
	return nil
}

// after is a list that follows a sentence.
func after(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "; " + strings.Join(list, "; ")
}

// place is the member's name and where it answered, or should.
func (m *Member) place() string {
	at := m.Endpoint
	if at == "" && len(m.ClientURLs) > 0 {
		at = m.ClientURLs[0]
	}
	if at = address(at); at == "" || at == m.Label() {
		return m.Label()
	}
	return m.Label() + " at " + at
}
