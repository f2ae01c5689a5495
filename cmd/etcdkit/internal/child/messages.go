package child

import "time"

// What a wrapper and its supervisor tell each other, as gob over a socket. One thing is said at a time: the
// others are zero. The end of the stream says that the other side has ended. All times are bootTime's.
type (
	order struct {
		Start    *spec
		Deadline time.Duration // a later one: the lock was renewed
		Signal   int           // for the command's group
		End      bool          // ownership is lost: end the command now
	}
	spec struct {
		Path, Dir string
		Args, Env []string
		Deadline  time.Duration
		Grace     time.Duration
	}
	report struct {
		Started int // the command's pid
		Stopped int // the signal that stopped the command
		Refused *refusal
		Exited  *exit
	}
	// refusal: the command did not start.
	refusal struct {
		Code int    // of a CannotRunError
		Text string // of it
		Late bool   // there is no time left for it
	}
	exit struct {
		Code  int
		Ended bool // by the supervisor, because of the deadline or an order
	}
)

// killLead is how long before the deadline the group is killed, whatever else happens: for a timer that is
// late, and the death of many processes.
const killLead = 100 * time.Millisecond

// enforceLead is how long before the deadline the wrapper kills the group itself, should the supervisor not
// have done so.
const enforceLead = killLead / 2
