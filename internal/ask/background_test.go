package ask_test

import (
	"context"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// owner is what a Background belongs to.
type owner struct{ _ int }

func (*owner) Close() error { return nil }

func TestBackgroundWorkEndsWithItsOwner(t *testing.T) {
	owner := new(owner)
	never := func(context.Context) { t.Error("it runs") }
	if ask.BackgroundOf(owner).Go(never) {
		t.Error("without a Background: Go is true")
	}
	b := ask.NewBackground()
	ask.KeepBackground(t.Context(), owner, b)
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
	ask.ForgetBackground(owner)
	if ask.BackgroundOf(owner) != nil {
		t.Error("it is still there")
	}
}

func TestTheOwnerIsForgottenWhenTheClientIsClosed(t *testing.T) {
	owner := new(owner)
	client, closeClient := context.WithCancel(t.Context())
	b := ask.NewBackground()
	ask.KeepBackground(client, owner, b)
	ask.KeepBackground(client, owner, b)
	if ask.BackgroundOf(owner) != b {
		t.Error("it is not there")
	}
	closeClient()
	for end := time.Now().Add(generous); ask.BackgroundOf(owner) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still there")
		}
	}
}
