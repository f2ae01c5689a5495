package safety_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// seedEnv is a seed to run with again.
const seedEnv = "ETCDKIT_TEST_SAFETY_SEED"

const (
	contenders = 5 // workers of the guarded arm
	careless   = 2 // of the unfenced one
)

func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	t.Logf("seed %d (again with %s)", s, seedEnv)
	return s
}

func TestWhatIsGuardedIsSafeWhateverIsPausedOrKilled(t *testing.T) {
	s := seed(t)
	e := run(t, s)
	report(t, e)
	for _, reason := range void(e) {
		t.Errorf("void: %s", reason)
	}
	for _, c := range checks() {
		if err := c.run(e); err != nil {
			t.Errorf("%s: NOT SO\n%v", c.name, err)
		}
	}
	if t.Failed() {
		keep(t, e)
	}
}

// run is the job, with everything that is done to it, until all that was begun has ended.
func run(t *testing.T, s uint64) *evidence {
	t.Helper()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), faultTime+2*wait)
	defer cancel()
	watch, err := watchTruth(t.Context(), cli)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.end()

	h := newHistory()
	n := newNemesis(c, cli, h, &fleet{name: "w", job: job{Arm: fenced, Endpoints: c.Endpoints(), Seed: s}})
	o := newControl(h, &fleet{name: "u", job: job{Arm: unfenced, Endpoints: c.Endpoints(), Seed: s}})
	for f, size := range map[*fleet]int{n.workers: contenders, o.workers: careless} {
		defer f.end()
		for range size {
			if err := f.start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := disturb(ctx, s, n, o); err != nil {
		t.Error(err)
	}
	if err := errors.Join(n.workers.finish(wait), o.workers.finish(wait)); err != nil {
		t.Error(err)
	}
	events, err := watch.finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ops, done := h.all()
	return &evidence{ops: ops, events: events, faults: done}
}

// disturb has all faults done, side by side.
func disturb(ctx context.Context, s uint64, n *nemesis, c *control) error {
	faults, cancel := context.WithTimeout(ctx, faultTime)
	defer cancel()
	lines := []func(*rand.Rand) error{
		func(r *rand.Rand) error {
			return n.line(ctx, faults, r, n.pauseHolder(mutex), n.pauseHolder(semaphore))
		},
		func(r *rand.Rand) error {
			return n.line(ctx, faults, r, n.pauseHolder(rwmutex), n.pauseHolder(leadership))
		},
		func(r *rand.Rand) error { return n.line(ctx, faults, r, n.killLeader, n.killAny) },
		func(r *rand.Rand) error { return c.run(ctx, faults, r) },
	}
	ends := make(chan error, len(lines))
	for i, line := range lines {
		go func() { ends <- line(rand.New(rand.NewPCG(s, uint64(i)))) }() // waited for below
	}
	var errs []error
	for range lines {
		errs = append(errs, <-ends)
	}
	return errors.Join(errs...)
}

// keep saves what a failed run leaves to look at.
func keep(t *testing.T, e *evidence) {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcdkit-safety-")
	if err != nil {
		t.Error(err)
		return
	}
	t.Logf("what happened is in %s", dir)
	_ = linearizable(e, thinking, dir) // said before
	if err := errors.Join(
		save(filepath.Join(dir, "history.jsonl"), e.ops),
		save(filepath.Join(dir, "faults.jsonl"), e.faults),
		save(filepath.Join(dir, "truth.jsonl"), e.events)); err != nil {
		t.Error(err)
	}
}

func save[T any](file string, lines []T) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
