package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// ErrInvalid: an option cannot be used. Nothing was sent.
var ErrInvalid = errors.New("doctor: invalid option")

const (
	defaultTimeout = 2 * time.Second
	defaultWait    = 3 * time.Second
	// shortestWait and longestWait bound Options.Wait: the clock rate needs two seconds to be seen at all, and a lease counts down
	// meanwhile that must not be kept for long if it cannot be revoked.
	shortestWait = 2 * time.Second
	longestWait  = 10 * time.Minute
)

// Options of Status and Examine. nil and the zero value are the defaults.
type Options struct {
	// Timeout bounds what is asked of one member. Default 2 s.
	Timeout time.Duration
	// Wait is for how long Examine measures, from 2 s to 10 minutes. Default 3 s. The longer, the more exact are the
	// clock rate and the latency of the disks under the present load.
	Wait time.Duration
	// TLS is for the members' /metrics and /version, which are plain HTTPS: usually the configuration that the
	// client was made with. nil means the system's authorities and no certificate.
	TLS *tls.Config
	// Progress, if not nil, is told what Examine does next. It is called by one goroutine at a time and must not block.
	Progress func(step string)
}

// Check returns the error that Status and Examine would return for these options, before anything is sent.
func (o *Options) Check() error {
	_, err := o.withDefaults()
	return err
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Timeout < 0 {
		return opts, fmt.Errorf("%w: Timeout is negative: %v", ErrInvalid, opts.Timeout)
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.Wait == 0 {
		opts.Wait = defaultWait
	}
	if opts.Wait < shortestWait || opts.Wait > longestWait {
		return opts, fmt.Errorf("%w: Wait %v: want %v to %v", ErrInvalid, opts.Wait, shortestWait, longestWait)
	}
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	return opts, nil
}

// Severity of a finding.
type Severity string

const (
	// Problem: something does not work, or is open to anyone, now.
	Problem Severity = "problem"
	// Warning: it works now, and stops working under a load or a failure that every cluster meets.
	Warning Severity = "warning"
	// Info: worth knowing, or not measured.
	Info Severity = "info"
	// OK: examined, and fine.
	OK Severity = "ok"
)

// rank orders severities, the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Problem, Warning, Info, OK}, s) }

// Finding is one thing that was examined.
type Finding struct {
	// ID says what was examined. It is stable: scripts may depend on it.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// Members are the labels of those that it is about; empty if it is about the cluster.
	Members []string `json:"members"`
	// What was found, Why it matters, and what to Do about it. Why and Do are empty where all is fine.
	What string `json:"what"`
	Why  string `json:"why"`
	Do   string `json:"do"`
}

// Report is what Examine found.
type Report struct {
	Cluster  *Cluster
	Findings []Finding // the worst first
}

// Worst is the severity of the first finding.
func (r *Report) Worst() Severity {
	if len(r.Findings) == 0 {
		return OK
	}
	return r.Findings[0].Severity
}

func (r *Report) add(found ...Finding) {
	for _, f := range found {
		if f.Members == nil {
			f.Members = []string{} // so that it is [] in JSON
		}
		r.Findings = append(r.Findings, f)
	}
}

// Examine finds out what is wrong with a cluster. It takes Options.Wait and a few seconds, and more when
// members do not answer. opts may be nil. Errors are those of Status, and ErrInvalid; everything else is a finding.
func Examine(ctx context.Context, cli *clientv3.Client, opts *Options) (*Report, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Progress("asking the members")
	before, err := Status(ctx, cli, &o)
	if err != nil {
		return nil, err
	}
	e := &examination{cli: cli, opts: o, before: before}
	o.Progress("reading the members' metrics")
	pages := newPages(o)
	defer pages.close()
	e.pages = pages.readAll(ctx, before)
	e.leases = e.measure(ctx)
	o.Progress("asking the members again")
	e.later = pages.readAll(ctx, before)
	e.after, err = Status(ctx, cli, &o)
	if err := ctx.Err(); err != nil {
		return nil, errtext.Errorf("doctor: examine: %w", err)
	}
	if err != nil {
		e.after = before // what was true a moment ago says more than an error
	}
	return e.report(), nil
}

// examination is what is known when the findings are made.
type examination struct {
	cli           *clientv3.Client
	opts          Options
	before, after *Cluster // Wait lies between the two
	pages, later  map[ID]*page
	leases        measurements
}

func (e *examination) report() *Report {
	for i := range e.after.Members {
		if m := &e.after.Members[i]; m.Quota == 0 {
			m.Quota = e.page(m.ID).quota()
		}
	}
	r := &Report{Cluster: e.after}
	for _, check := range []func() []Finding{
		e.quorum, e.leader, e.reachable, e.size, e.lag, e.alarms,
		e.space, e.fragmentation, e.versions, e.advisories,
		e.access, e.plaintext, e.gateway,
		e.disk, e.network, e.commits, e.clockRate, e.wallClocks, e.leaseMinimum, e.leaseCount, e.unmeasured,
	} {
		r.add(check()...)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return a.Severity.rank() - b.Severity.rank() })
	return r
}

// page is what a member showed over HTTP, the later one if there are two; never nil.
func (e *examination) page(id ID) *page {
	for _, pages := range []map[ID]*page{e.later, e.pages} {
		if p := pages[id]; p != nil && p.problem == "" {
			return p
		}
	}
	if p := e.pages[id]; p != nil {
		return p
	}
	return &page{problem: "the member did not answer"}
}

// labels are those of the members for which is holds.
func (c *Cluster) labels(is func(*Member) bool) []string {
	var labels []string
	for i := range c.Members {
		if is(&c.Members[i]) {
			labels = append(labels, c.Members[i].Label())
		}
	}
	return labels
}

// names is a list of labels for a sentence.
func names(labels []string) string {
	switch n := len(labels); n {
	case 0:
		return "no member"
	case 1:
		return labels[0]
	default:
		return strings.Join(labels[:n-1], ", ") + " and " + labels[n-1]
	}
}

// verb is one word after a single name and another after several.
func verb(labels []string, one, several string) string {
	if len(labels) == 1 {
		return one
	}
	return several
}
