package safety_test

import (
	"fmt"
	"time"
)

// void are the reasons why a run proves nothing.
func void(e *evidence) []string {
	reasons := append(weak(e), idle(e)...)
	for _, c := range controls() {
		if err := c.run(e); err != nil {
			reasons = append(reasons, fmt.Sprintf("the faults are too weak to tell whether %s: %v", c.name, err))
		}
	}
	return reasons
}

// weak tells which faults had no effect.
func weak(e *evidence) (reasons []string) {
	kinds := make(map[string]int)
	for _, f := range e.faults {
		kinds[f.Kind]++
		if f.Effect == "" {
			reasons = append(reasons, fmt.Sprintf("%s on %s had no effect", f.Kind, f.On))
		}
		if f.Kind == pauseWorker {
			reasons = append(reasons, stirred(e, f)...)
		}
	}
	for _, kind := range []string{pauseWorker, killWorker, killLeader} {
		if kinds[kind] == 0 {
			reasons = append(reasons, "there was no "+kind)
		}
	}
	return reasons
}

// wanted is what must have been acknowledged of each subject.
var wanted = map[subject][]string{
	mutex:      {write, increment},
	rwmutex:    {read, write, increment},
	semaphore:  {write, commit},
	leadership: {write, proclaim, current},
}

// idle tells what happened too seldom.
func idle(e *evidence) (reasons []string) {
	done, refused, copies := make(map[subject]map[string]int), make(map[subject]int), make(map[subject]int)
	for _, s := range subjects {
		done[s] = make(map[string]int)
	}
	for _, o := range e.ops {
		switch s := o.of(); {
		case s.isOpen():
		case o.Op == late && o.Outcome != info:
			copies[s]++
		case o.refused():
			refused[s]++
		case o.Outcome == ok:
			done[s][o.Op]++
		}
	}
	for _, s := range subjects {
		for _, what := range wanted[s] {
			if done[s][what] < fewest {
				reasons = append(reasons, fmt.Sprintf("%s: only %d operations %q were acknowledged, want %d", s, done[s][what], what, fewest))
			}
		}
		if refused[s] == 0 {
			reasons = append(reasons, fmt.Sprintf("%s: etcd never had to refuse anything under an old token", s))
		}
		if copies[s] == 0 {
			reasons = append(reasons, fmt.Sprintf("%s: no write came late", s))
		}
	}
	if done[leadership][observe] == 0 {
		reasons = append(reasons, "no worker observed a leader")
	}
	if waitedStopped(e) == 0 {
		reasons = append(reasons, "no worker was paused while it waited")
	}
	return reasons
}

// waitedStopped is how many waited for a turn when they were stopped, and still when they went on.
func waitedStopped(e *evidence) (n int) {
	for _, f := range e.faults {
		for _, o := range e.ops {
			if f.Kind == pauseWorker && o.Worker == f.On && o.Op == acquire && o.Call < f.Begin && o.Return > f.End {
				n++
			}
		}
	}
	return n
}

// stirred tells of operations that a stopped worker began all the same.
func stirred(e *evidence, f fault) (reasons []string) {
	const settling = int64(100 * time.Millisecond) // a signal takes its time
	for _, o := range e.ops {
		if o.Worker == f.On && o.Call > f.Begin+settling && o.Call < f.End {
			reasons = append(reasons, fmt.Sprintf("%v began while it was stopped", o))
		}
	}
	return reasons
}
