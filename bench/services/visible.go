package services

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

// visibleBound is etcdkit's register → visible by raw Put → watch event, at p50.
const visibleBound = 1.2

// roundTimeout bounds one registration, and its being seen.
const roundTimeout = 20 * time.Second

// course is a library in the round robin of visible.
type course struct {
	library
	service  string
	bound    float64 // of p50 × raw; 0: none
	writer   writer
	consumer consumer
	sample   report.Sample
	err      error // why it left the round robin
}

// visible measures from the call that registers an instance until the same library's consumer
// lists it. The libraries take turns, in a new order each round, so that noise hits all alike; all are clients of the leader.
func (j *job) visible(ctx context.Context) (*report.Group, error) {
	g := &report.Group{
		Name:    "visible",
		Title:   "Register → visible: from the call until the library's own consumer lists the instance",
		Columns: []string{"p50", "p99", "p50 × raw", "p99 × raw", "rounds"},
	}
	var courses []*course
	for i, l := range append([]library{&raw{}, &raw{grant: true}, &etcdkit{shared: true}, &etcdkit{}}, all()[1:]...) {
		c := &course{library: l, service: fmt.Sprintf("visible%d", i)}
		if e, ok := l.(*etcdkit); ok && e.shared {
			c.bound = visibleBound
		}
		courses = append(courses, c)
	}
	if err := j.run(ctx, g, courses); err != nil {
		return nil, err
	}
	for _, c := range courses {
		g.Distributions = append(g.Distributions, report.Distribute(chartOf(c.library), c.name(), c.sample))
	}
	g.Note("“etcdkit” is a process that has registered before (one Registrar, which has its lease); “own lease” is one that has not (registry.Register). The peers always grant a lease first: compare them with raw Grant + Put.")
	g.Note("All are clients of one member, the leader: a put through one member is seen later on another.")
	return g, nil
}

// run has courses take turns, and adds a row for each to the table. The first is the floor.
func (j *job) run(ctx context.Context, g *report.Group, courses []*course) error {
	for _, c := range courses {
		c.err = guard(func() error { return c.open(ctx, j.Lab.Leader()) })
	}
	defer func() {
		for _, c := range courses {
			_ = guard(c.close)
		}
	}()
	const unmeasured = 5
	rounds := j.Either(300, 30)
	for n := range unmeasured + rounds {
		for _, i := range rand.Perm(len(courses)) { // so that none always follows the same one's clean-up
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c := courses[i]
			j.Progress.Step(g.Name, c.name(), n+1, unmeasured+rounds)
			c.turn(ctx, n, n >= unmeasured)
		}
	}
	raw50, raw99 := courses[0].sample.Median(), courses[0].sample.Quantile(0.99)
	for _, c := range courses {
		g.Rows = append(g.Rows, c.row(raw50, raw99))
	}
	return nil
}

// chartOf parts the lines in two pictures: one has four colours.
func chartOf(l library) string {
	_, floor := l.(*raw)
	if e, isEtcdkit := l.(*etcdkit); floor || isEtcdkit && e.shared {
		return "register → visible: the floors, and a lease that is there"
	}
	return "register → visible: with a lease of its own"
}

func (c *course) open(ctx context.Context, endpoint string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	if c.writer, err = c.library.writer(ctx, []string{endpoint}, defaultTTL); err != nil {
		return err
	}
	c.consumer, err = c.follow(ctx, []string{endpoint}, c.service)
	return err
}

func (c *course) close() error {
	var errs []error
	if c.consumer != nil {
		errs = append(errs, c.consumer.close())
	}
	if c.writer != nil {
		errs = append(errs, c.writer.close())
	}
	return errors.Join(errs...)
}

// turn is one round of one library; after an error it has no other.
func (c *course) turn(ctx context.Context, n int, measured bool) {
	if c.err != nil {
		return
	}
	c.err = guard(func() error {
		took, err := c.round(ctx, address(n+1))
		if err == nil && measured {
			c.sample.Add(took)
		}
		return err
	})
}

func (c *course) round(ctx context.Context, addr string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	type sight struct {
		at  time.Time
		err error
	}
	seen := make(chan sight, 1)
	go func() { // ends with the sight, or with ctx
		at, err := await(ctx, c.consumer, listing(addr))
		seen <- sight{at, err}
	}()
	begin := time.Now()
	leave, err := c.writer.register(ctx, c.service, addr)
	if err != nil {
		cancel()
		<-seen
		return 0, fmt.Errorf("register: %w", err)
	}
	s := <-seen
	if err := errors.Join(s.err, leave()); err != nil {
		return 0, fmt.Errorf("see it: %w", err)
	}
	if _, err := await(ctx, c.consumer, missing(addr)); err != nil {
		return 0, fmt.Errorf("see it gone: %w", err)
	}
	return s.at.Sub(begin), nil
}

func (c *course) row(raw50, raw99 float64) report.Row {
	if c.err != nil || len(c.sample) == 0 {
		why := c.err
		if why == nil {
			why = errors.New("no round was completed")
		}
		return report.Row{Name: c.name(), Cells: []report.Cell{report.Failed(why)}}
	}
	p50, p99 := c.sample.Median(), c.sample.Quantile(0.99)
	times := report.RatioOf(p50, raw50)
	if c.bound > 0 && times.Words == "" {
		times = times.AtMost(c.bound)
	}
	return report.Row{Name: c.name(), Cells: []report.Cell{
		report.Seconds(p50), report.Seconds(p99), times, report.RatioOf(p99, raw99), report.Count(float64(len(c.sample))),
	}}
}
