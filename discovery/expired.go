package discovery

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/mirror"
)

const (
	// window is how long instances that vanish count together. Leases that cannot be renewed end within a
	// third of their TTL of each other, since that is how often they are renewed.
	window = 30 * time.Second
	// fewest instances must vanish within the window, or one fewer within shortWindow, which is a
	// little more than a third of the default TTL: in a service of two or three, two crashes within
	// half a minute are nothing special.
	fewest      = 3
	shortWindow = 5 * time.Second
)

// vanished is an instance whose key is gone, and that had not said draining.
type vanished struct {
	instance *Instance // as it was last
	at       time.Time
	kept     *Instance // as it is listed; nil: it is not listed
}

// recordVanished records an instance whose key is gone, unless that was expected. v.mu is held.
func (v *View) recordVanished(i *Instance, c *mirror.Change) {
	if v.opts.KeepExpired < 0 || c.Previous == nil || c.Previous.Lease == 0 {
		return
	}
	last, err := v.instance(c.Key, c.Previous.Value) // several changes can have become one
	if err != nil || last.PID == 0 || !last.Status.Serving() {
		return // it cannot say that it leaves, or has said so, or took no requests
	}
	v.vanished[i.ID] = vanished{instance: i, at: time.Now()}
}

// recordRegistered records an instance that is new or registered again. If it vanished shortly before, its
// usage is kept, and its failures are forgotten. v.mu is held.
func (v *View) recordRegistered(i *Instance) {
	was, back := v.vanished[i.ID]
	if !back {
		return
	}
	delete(v.vanished, i.ID)
	if was.instance.Addr == i.Addr {
		i.usage = was.instance.usage
		v.endPause(i)
	}
}

// withKept adds to a list the instances that vanished and are kept. v.mu is held.
func (v *View) withKept(fresh []*Instance) []*Instance {
	if len(v.vanished) == 0 {
		return fresh
	}
	serving, at := 0, make(map[string]bool, len(fresh))
	for _, i := range fresh {
		at[i.Addr] = true
		if i.Status.Serving() {
			serving++
		}
	}
	now, recent, justNow := time.Now(), 0, 0
	for id, was := range v.vanished {
		switch age := now.Sub(was.at); {
		case at[was.instance.Addr]: // it is registered with another id
			delete(v.vanished, id)
		case was.kept != nil && age >= v.opts.KeepExpired, was.kept == nil && age > window:
			delete(v.vanished, id)
		case age <= window:
			recent++
			if age <= shortWindow {
				justNow++
			}
		}
	}
	if recent > serving && (recent >= fewest || justNow >= fewest-1) {
		v.keep()
	}
	all := slices.Clip(fresh)
	next := time.Duration(-1)
	for _, was := range v.vanished {
		if was.kept != nil {
			all = append(all, was.kept)
			if left := v.opts.KeepExpired - now.Sub(was.at); next < 0 || left < next {
				next = left
			}
		}
	}
	if len(all) > len(fresh) {
		slices.SortFunc(all, func(a, b *Instance) int { return strings.Compare(a.ID, b.ID) })
		if v.life.Err() == nil {
			v.release.Reset(next)
		}
	}
	return all
}

// keep lists all instances again that have vanished within the window. v.mu is held.
func (v *View) keep() {
	kept := 0
	for id, was := range v.vanished {
		if was.kept != nil || time.Since(was.at) >= v.opts.KeepExpired {
			continue
		}
		i := newInstance(was.instance.Instance, 0, was.instance.usage)
		i.Status = Expired
		i.Reason = fmt.Sprintf("its registration is gone since %s; kept, because most instances of %q vanished at the same time", was.at.Format(time.TimeOnly), v.service)
		was.kept = i
		v.vanished[id] = was
		kept++
	}
	if kept > 0 {
		v.logs.Add(slog.LevelWarn, "most instances vanished at the same time, and are kept", "service", v.service, "instances", kept, "for", v.opts.KeepExpired)
	}
}

// releaseKept makes a list without the instances that were kept long enough.
func (v *View) releaseKept() {
	v.change(func() {
		if v.life.Err() != nil {
			return
		}
		was := v.current.Load()
		next := newList(0, was.snapshot)
		next.fresh, next.bad = was.fresh, was.bad
		v.publish(next)
	})
}
