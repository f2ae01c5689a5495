package ask_test

import (
	"context"
	"testing"

	"github.com/etcdkit/etcdkit/internal/ask"
)

func TestBackgroundWorkEndsWithItsOwner(t *testing.T) {
	owner := new(int)
	never := func(context.Context) { t.Error("it runs") }
	if ask.BackgroundOf(owner).Go(never) {
		t.Error("without a Background: Go is true")
	}
	b := ask.NewBackground()
	ask.SetBackground(owner, b)
	started, ended := make(chan struct{}), false
	if !ask.BackgroundOf(owner).Go(func(ctx context.Context) {
		close(started)
		<-ctx.Done()
		ended = true
	}) {
		t.Fatal("Go is false")
	}
	<-started
	b.End()
	b.Wait()
	if !ended {
		t.Error("Wait has not waited")
	}
	if ask.BackgroundOf(owner).Go(never) {
		t.Error("after End: Go is true")
	}
	ask.SetBackground(owner, nil)
	if ask.BackgroundOf(owner) != nil {
		t.Error("it is still there")
	}
}
