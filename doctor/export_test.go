package doctor

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Settle is what Status does with members that have answered.
func (c *Cluster) Settle() *Cluster { c.settle(); return c }

// Page is what a member shows over HTTP, as Judge takes it.
type Page struct {
	Metrics                    string // text; "": not read
	Served, Gateway, AnyOrigin bool
	Certificate                string // "demanded", "not demanded", "": unknown
	ClockAhead, ClockError     time.Duration
}

var demands = map[string]demand{"": demandUnknown, "demanded": demanded, "not demanded": notDemanded}

// CertificateDemand is whether whatever serves HTTPS at an endpoint demands a client certificate, as Page has it.
func CertificateDemand(ctx context.Context, endpoint string, o *Options) string {
	opts, _ := o.withDefaults()
	pages, one := newPages(opts), new(page)
	defer pages.close()
	pages.read(ctx, endpoint, one)
	for text, d := range demands {
		if d == one.certificate {
			return text
		}
	}
	panic("unknown demand")
}

// BytesText is a size for people.
func BytesText(n int64) string { return bytesText(n) }

// Facts are what Judge makes findings of.
type Facts struct {
	Before, After *Cluster
	Pages         map[ID]Page
	Auth          string // "on", "off", "" unknown
	Minimum       time.Duration
	Leases        int
	Commits       []time.Duration
	Theirs, Ours  time.Duration // of the clock rate
	Within        time.Duration
}

// Judge is Examine without the asking.
func Judge(f Facts) *Report {
	e := &examination{before: f.Before, after: f.After, pages: make(map[ID]*page)}
	e.opts, _ = (*Options)(nil).withDefaults()
	if e.before == nil {
		e.before = f.After
	}
	for id, p := range f.Pages {
		one := &page{served: p.Served, gateway: p.Gateway, anyOrigin: p.AnyOrigin, certificate: demands[p.Certificate], clockAhead: p.ClockAhead, clockError: p.ClockError}
		if p.Metrics != "" {
			one.parse([]byte(p.Metrics))
		}
		e.pages[id] = one
	}
	e.leases = measurements{
		auth: map[string]auth{"": authUnknown, "on": authOn, "off": authOff}[f.Auth], minimum: f.Minimum, leases: f.Leases, commits: f.Commits,
		clock: clockRate{theirs: f.Theirs, ours: f.Ours, within: f.Within},
	}
	return e.report()
}

// MeasureClock measures the clock of whatever answers.
func MeasureClock(ctx context.Context, lease pb.LeaseClient, wait time.Duration) (faster, within float64, problem string) {
	p := &prober{lease: lease, timeout: 10 * time.Second}
	r := p.clockRate(ctx, wait)
	faster, within = r.ratio()
	return faster, within, r.problem
}
