package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/variables"
	"github.com/etcdkit/etcdkit/mirror"
)

// keepUp is what watch, env and render share: commands that keep another one up to date with etcd.
type keepUp struct {
	cluster *place.Flags
	policy  reload.Policy
	pause   reload.Pause
	grace   time.Duration
	start   time.Duration
}

// pauseFlag is a reload.Pause as a flag's value.
type pauseFlag struct{ *reload.Pause }

func (f pauseFlag) Type() string { return "MIN[:MAX]" }
func (f pauseFlag) Set(text string) (err error) {
	*f.Pause, err = reload.ParsePause(text)
	return err
}

// flags adds them. The policies are those that the command has; the first one is the default.
func (k *keepUp) flags(cmd *cobra.Command, pauseName string, pause time.Duration, policies ...string) {
	k.policy = reload.NewPolicy(policies...)
	k.pause = reload.Pause{Min: pause, Max: 4 * pause}
	cmd.Flags().Var(&k.policy, "on-change", "what a change does to CMD")
	usage := "act when nothing has changed for MIN, and MAX after the first change at the latest"
	if pauseName != "debounce" {
		usage += "; watch and env call it --debounce"
	}
	cmd.Flags().Var(pauseFlag{&k.pause}, pauseName, usage)
	cmd.Flags().DurationVar(&k.grace, "kill-grace", child.Grace, "between SIGTERM and SIGKILL, where CMD must end")
	cmd.Flags().DurationVar(&k.start, "start-timeout", 30*time.Second, "how long to wait for etcd at the start")
}

// check refuses what cannot be.
func (k *keepUp) check() error {
	switch {
	case k.grace < 0:
		return usagef("--kill-grace %v: want 0s or more", k.grace)
	case k.start <= 0:
		return usagef("--start-timeout %v: want more than 0s", k.start)
	}
	return nil
}

// needCommand refuses flags that are about CMD where there is none.
func needCommand(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is about a command: add -- CMD", name)
		}
	}
	return nil
}

// find connects, and waits for etcd as long as the flags say.
func (k *keepUp) find(ctx context.Context, a *app) (*place.Place, error) {
	begin := time.Now()
	bound, cancel := context.WithTimeout(ctx, k.start)
	defer cancel()
	p, err := a.reach(bound, k.cluster, func(err error) {
		if left := k.start - time.Since(begin); left > time.Second {
			a.out.Talkf("etcdkit: %s; trying for %v more", a.describe(err), left.Round(time.Second))
		}
	})
	if err != nil && bound.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not reached within %v: %w", k.start, err)
	}
	return p, unreachable(err)
}

// begin refuses a CMD that cannot run, and connects. The context is that of the time before CMD: a signal ends it. Its
// caller closes the startup.
func (k *keepUp) begin(ctx context.Context, a *app, command []string) (context.Context, *startup, error) {
	if len(command) > 0 {
		if _, err := child.Command(command); err != nil {
			return nil, nil, a.cannotRun(err)
		}
	}
	waiting, s := newStartup(ctx, command)
	p, err := k.find(waiting, a)
	if err != nil {
		defer s.close()
		return nil, nil, s.end(err)
	}
	s.place = p
	return waiting, s, nil
}

// wrapped is CMD as the flags say, with signals that are for it.
func (k *keepUp) wrapped(a *app, command []string, signals <-chan os.Signal) reload.Wrapped {
	return reload.Wrapped{
		Args: command, Stdin: a.stdin, Stdout: a.out.Stdout(), Stderr: a.out.Stderr(),
		Policy: k.policy, Pause: k.pause, Grace: k.grace, Signals: signals, Say: a.say,
	}
}

// freshness is what knows whether etcd confirms what it has.
type freshness interface {
	State() mirror.State
	FreshnessChanged() <-chan struct{}
}

// freshnessOf is that of a Set.
func freshnessOf(set *variables.Set) (all []freshness) {
	for _, m := range set.Mirrors() {
		all = append(all, m)
	}
	return all
}

// saysFreshness is sayFreshness until the function that it returns is called.
func (a *app) saysFreshness(ctx context.Context, of ...freshness) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var saying sync.WaitGroup
	saying.Go(func() { a.sayFreshness(ctx, of...) }) // ends with stop
	return func() {
		cancel()
		saying.Wait()
	}
}

// say is Say of a job.
func (a *app) say(format string, args ...any) { a.out.Talkf("etcdkit: "+format, args...) }

// sayFreshness tells when etcd no longer confirms all of what is known, and when it does again, until ctx ends.
func (a *app) sayFreshness(ctx context.Context, of ...freshness) {
	var following sync.WaitGroup
	defer following.Wait()
	turned := make(chan struct{}, 1) // one of them has changed since it was looked at
	for _, one := range of {
		following.Go(func() { // ends with ctx
			for {
				next := one.FreshnessChanged()
				select {
				case turned <- struct{}{}:
				default:
				}
				select {
				case <-next:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for stale := false; ; {
		select {
		case <-turned:
		case <-ctx.Done():
			return
		}
		var old *mirror.State
		for _, one := range of {
			if state := one.State(); !state.Fresh {
				old = &state
				break
			}
		}
		switch {
		case old != nil && !stale:
			a.out.Talkf("etcdkit: no news from etcd since %s: %s", old.Since.Format(time.TimeOnly), a.describe(old.Cause))
		case old == nil && stale:
			a.out.Talkf("etcdkit: etcd is back; nothing was missed")
		}
		stale = old != nil
	}
}
