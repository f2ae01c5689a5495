package reload

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// What a command that runs learns of a change.
const (
	None    = "none"    // nothing
	Run     = "run"     // it is run again, after it has ended
	Signal  = "signal"  // it gets a signal
	Restart = "restart" // it is ended and started again
)

// Policy is what a change does to a command. It is a flag's value.
type Policy struct {
	What   string    // one of the above
	Signal os.Signal // of Signal

	allowed []string
}

// NewPolicy is a policy, and those that may be asked for; the first one is the default.
func NewPolicy(allowed ...string) Policy { return Policy{What: allowed[0], allowed: allowed} }

// Set reads none, run, signal, signal=NAME or restart.
func (p *Policy) Set(text string) error {
	what, name, named := strings.Cut(text, "=")
	if !slices.Contains(p.allowed, what) || named && what != Signal {
		return fmt.Errorf("want %s", p.Type())
	}
	p.What, p.Signal = what, nil
	if what != Signal {
		return nil
	}
	p.Signal = syscall.SIGHUP
	if !named {
		return nil
	}
	s, err := parseSignal(name)
	p.Signal = s
	return err
}

func (p *Policy) String() string { return p.What }

// Type says in a help text what may be asked for.
func (p *Policy) Type() string {
	names := slices.Clone(p.allowed)
	for i, name := range names {
		if name == Signal {
			names[i] = "signal[=HUP]"
		}
	}
	return strings.Join(names, "|")
}
