package child

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockID is that of package lease: it also runs while the machine is suspended.
const clockID = unix.CLOCK_BOOTTIME

// adoptOrphans has the orphans among this process's descendants become its children, which it can wait for.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } // in Linux since 3.4

// alarm is a timer on bootTime. It also fires right after the machine was suspended past its time.
type alarm struct {
	fd    int
	fired chan struct{}
}

// newAlarm starts an alarm, which lives as long as the process.
func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	a := &alarm{fd, make(chan struct{}, 1)}
	go func() { // lives as long as the process
		for buf := make([]byte, 8); ; {
			if _, err := unix.Read(fd, buf); err == nil {
				a.fired <- struct{}{}
			}
		}
	}()
	return a, nil
}

// set has the alarm fire at a time, instead of the one before.
func (a *alarm) set(at time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	_ = unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil) // no argument of it can be wrong
}
