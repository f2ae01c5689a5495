package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// faultKind is a kind of fault: the statuses that a member can have when it is done to it. Kinds are compared
// by their pointers, as two of them can have the same statuses.
type faultKind struct{ statuses []Status }

var (
	toKill    = &faultKind{[]Status{Running, Paused, Starting}}
	toStop    = &faultKind{[]Status{Running, Paused, Starting}}
	toRestart = &faultKind{[]Status{Running, Paused, Starting}}
	toStart   = &faultKind{[]Status{Stopped, Killed, Failed}}
	toPause   = &faultKind{[]Status{Running}}
	toResume  = &faultKind{[]Status{Paused}}
	toCut     = &faultKind{[]Status{Running, Paused, Starting, Stopped, Killed, Failed}}
	toLead    = &faultKind{[]Status{Running}}
)

// processTargets is targets for a fault that needs members that are processes.
func (c *Cluster) processTargets(name string, k *faultKind) ([]*member, error) {
	if c.opts.InProcess {
		return nil, fmt.Errorf("%w and cannot be killed, paused or partitioned; start the cluster without InProcess", ErrInProcess)
	}
	return c.targets(name, k)
}

// targets finds the members for a fault: the one of that name, or for "all" those that it can be
// done to.
func (c *Cluster) targets(name string, k *faultKind) ([]*member, error) {
	if name != allMembers {
		m, err := c.member(name)
		var unknown *UnknownMemberError
		if errors.As(err, &unknown) {
			unknown.Known = append(unknown.Known, allMembers)
		}
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !slices.Contains(k.statuses, m.status) {
			return nil, k.stateErr(m)
		}
		return []*member{m}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fit := slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return !slices.Contains(k.statuses, m.status) })
	switch {
	case len(fit) > 0:
		return fit, nil
	case k == toResume:
		return nil, stateError("no member is paused")
	case k == toStart:
		return nil, stateError("no member is stopped, killed or failed")
	}
	return nil, stateError("no member is running")
}

// stateError is an ErrState with a text of its own.
type stateError string

func (e stateError) Error() string        { return "cluster: " + string(e) }
func (e stateError) Is(target error) bool { return target == ErrState }

// stateErr says why the fault cannot be done to the member. Cluster.mu is held.
func (k *faultKind) stateErr(m *member) error {
	is, already := m.name+" is "+string(m.status), m.name+" is already "+string(m.status)
	if m.status == Failed {
		is, already = m.name+" has failed", m.name+" has already failed"
	}
	down := slices.Contains(toStart.statuses, m.status)
	switch {
	case k == toStart && m.status == Paused:
		return stateError(is + "; resume it")
	case k == toStart, k == toPause && m.status == Paused, down && (k == toKill || k == toStop):
		return stateError(already)
	case k == toResume && down:
		return stateError(is + ", not paused; start it")
	case k == toResume:
		return stateError(is + ", not paused")
	case down:
		return stateError(is + "; start it first")
	case m.status == Paused:
		return stateError(is + "; resume it first")
	}
	return stateError(is + " and does not serve yet")
}

// joinNames is the members' names for a message.
func joinNames(ms []*member) string {
	var names []string
	for _, m := range ms {
		names = append(names, m.name)
	}
	return strings.Join(names, ", ")
}

// alreadyDone says of a fault that failed at one of several members to which others it has been done.
func alreadyDone(others []*member, did string, err error) error {
	if len(others) == 0 {
		return err
	}
	return errtext.Errorf("cluster: %w; already %s: %s", err, did, joinNames(others))
}

// joinErrors is errors.Join on one line.
func joinErrors(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	var texts []string
	for _, err := range errs {
		texts = append(texts, errtext.Text(err))
	}
	return errtext.New("cluster: "+strings.Join(texts, "; "), errs...)
}
