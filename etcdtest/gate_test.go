package etcdtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestAGateAffectsItsClients(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	member := shared.Endpoints()[0]
	g := etcdtest.NewGate(t, member)
	cli, err := client.Dial(t.Context(), &client.Options{Endpoints: []string{g.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	get := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, err := cli.Get(ctx, prefix+"key")
		return err
	}
	for _, fault := range []struct {
		name     string
		do, undo func()
	}{
		{"SetTarget", func() { g.SetTarget("") }, func() { g.SetTarget(member) }},
		{"DropAnswers", g.DropAnswers, func() { g.SetTarget(member) }},
		{"Freeze", g.Freeze, g.Unfreeze},
	} {
		fault.do()
		if err := get(200 * time.Millisecond); err == nil {
			t.Errorf("%s: a request was answered", fault.name)
		}
		fault.undo()
		if err := get(20 * time.Second); err != nil {
			t.Errorf("%s, undone: %v", fault.name, err)
		}
	}
	if got := g.Accepted(); got < 2 {
		t.Errorf("%d connections were accepted, want one and one more after each SetTarget", got)
	}
}
