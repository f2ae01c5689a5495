//go:build long

package lock_test

import (
	"testing"
	"time"
)

// 5,000 wait for one name, each with its own Mutex.
func TestFiveThousandWaitersHaveTheirTurnsInOrder(t *testing.T) {
	smoothly(t, "each its own Mutex", 5000, 5*time.Second)
}

func TestThreeThousandReadersAndWritersDoNotStall(t *testing.T) {
	smoothly(t, "RWMutexes", 3000, 5*time.Second)
}

func TestTwoThousandWaitersMakeNoRequest(t *testing.T) {
	for kind := range crowds {
		t.Run(kind, func(t *testing.T) { idle(t, kind, 2000, 10*time.Second) })
	}
}
