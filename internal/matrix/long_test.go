//go:build long

package matrix_test

import (
	"time"

	"github.com/etcdkit/etcdkit/internal/means"
)

const (
	silent60sFor = 45 * time.Second // two renewals
	silent5mFor  = 2 * time.Second
)

// crowdSize is small under the race detector, which has a limit on goroutines.
var crowdSize, churnTimes = crowd()

func crowd() (size, times int) {
	if means.Race {
		return 200, 200
	}
	return 2000, 1000
}
