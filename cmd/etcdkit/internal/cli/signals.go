package cli

import (
	"os"
	"os/signal"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

// forceGrace is what a second signal leaves for killing what was started.
const forceGrace = 200 * time.Millisecond

// endOnSecondSignal ends the process at once when a second signal comes: the first asks for a
// graceful end, through the context. The returned function takes it back.
func endOnSecondSignal() (takeBack func()) { return endOnSignal(2) }

// endOnNextSignal ends the process at once when a signal comes.
func endOnNextSignal() { endOnSignal(1) }

func endOnSignal(n int) (takeBack func()) {
	signals := make(chan os.Signal, 2) // none may get lost
	signal.Notify(signals, child.TerminationSignals()...)
	stop := make(chan struct{})
	go func() { // ends with takeBack
		for range n {
			select {
			case <-signals:
			case <-stop:
				return
			}
		}
		select {
		case <-time.After(forceGrace):
			os.Exit(ExitInterrupted)
		case <-stop:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(stop)
	}
}
