package locks

import (
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

// history is what happened at one lock. Its methods may be called from any goroutine.
type history struct {
	mu      sync.Mutex
	turns   int
	chances int // turns after another turn of the same race
	changes int // those of another one than the turn before
	racing  bool
	last    int // the client that held it last in this race
	left    time.Time
	holders int // now
	most    int // holders at once
	waits   report.Sample
	gaps    report.Sample // from the releaser's call until another one holds
}

// race records that a new race begins: between two there is no hand-over.
func (l *history) race() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.racing = false
}

// held records that a client has the lock, for which it asked at a time.
func (l *history) held(client int, asked time.Time) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders++
	l.most = max(l.most, l.holders)
	l.waits.Add(now.Sub(asked))
	if l.racing {
		l.chances++
		if client != l.last {
			l.changes++
			l.gaps.Add(now.Sub(l.left))
		}
	}
	l.turns++
	l.racing, l.last = true, client
}

// leaving records that a holder is about to release the lock. It is called before that: the next
// one may hold the lock before that returns.
func (l *history) leaving() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders--
	l.left = time.Now()
}

// handOvers are the turns, in percent, in which the lock came from another one; the first of a
// race, which came from none, does not count.
func (l *history) handOvers() float64 { return 100 * float64(l.changes) / float64(max(l.chances, 1)) }
