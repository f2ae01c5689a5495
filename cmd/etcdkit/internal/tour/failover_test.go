package tour

import (
	"errors"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

func TestTheKilledLeaderIsStartedAgainAlsoWhenTheLessonFails(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	opts := &Options{Place: &place.Place{Own: c, Endpoints: c.Endpoints()}}
	s := newStage(opts, Lessons()[0], func(Event) {})
	failed := errors.New("no answers")
	if err := s.withoutLeader(t.Context(), func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	if slices.ContainsFunc(c.State().Members, func(m cluster.MemberState) bool { return m.Status != cluster.Running }) {
		t.Errorf("want all members running: %+v", c.State().Members)
	}
}

func TestAShopThatCannotBeOpenedIsAnError(t *testing.T) {
	opts := &Options{Place: &place.Place{Endpoints: []string{"h:1"}}, Programs: &Build{path: map[string]string{"shop": "/nowhere"}}}
	if _, err := openShop(t.Context(), newStage(opts, &Lesson{}, func(Event) {}), "catalog"); err == nil {
		t.Error("want an error: its program is not there")
	}
}
