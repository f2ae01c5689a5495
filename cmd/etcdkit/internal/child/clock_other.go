//go:build unix && !linux

package child

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockID is a clock that all processes of a machine share. On some systems it stands still while the
// machine is suspended.
const clockID = unix.CLOCK_MONOTONIC

func adoptOrphans() {}

// alarm is a timer on bootTime.
type alarm struct {
	timer *time.Timer
	fired chan struct{}
}

func newAlarm() (*alarm, error) {
	a := &alarm{fired: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(time.Hour, func() {
		select {
		case a.fired <- struct{}{}:
		default:
		}
	})
	return a, nil
}

// set has the alarm fire at a time, instead of the one before.
func (a *alarm) set(at time.Duration) { a.timer.Reset(at - bootTime()) }
