package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// largestPage is how much of an answer is read. A member's metrics are some 100 KiB.
const largestPage = 16 << 20

// foreignOrigin is where a request pretends to come from, to see whether a web page of any other site may read the answer.
const foreignOrigin = "https://etcdkit.invalid"

// page is what a member shows over plain HTTP at its client URL.
type page struct {
	problem string // why there are no metrics; then the rest is empty
	metrics map[string]*dto.MetricFamily
	// clockAhead is how far the member's wall clock is ahead of ours, within clockError.
	clockAhead, clockError time.Duration

	served      bool // it serves HTTP at all; else what follows is unknown
	anyOrigin   bool // it lets the web pages of every site read its answers
	gateway     bool // the JSON API is on
	certificate demand
}

// demand is whether a member demands a client certificate.
type demand int

const (
	demandUnknown demand = iota
	demanded
	notDemanded
)

// pages reads them.
type pages struct {
	opts        Options
	http        *http.Client
	anonymously *http.Client // without a client certificate
}

func newPages(o Options) *pages {
	withCertificate := o.TLS.Clone()
	if withCertificate == nil {
		withCertificate = new(tls.Config)
	}
	withCertificate.NextProtos = []string{"http/1.1"} // the client's has h2 alone, for gRPC
	without := withCertificate.Clone()
	without.Certificates, without.GetClientCertificate = nil, nil
	return &pages{opts: o, http: plainClient(withCertificate, o.Timeout), anonymously: plainClient(without, o.Timeout)}
}

// plainClient goes straight to the members, as the client does: without a proxy, and without following redirections.
func plainClient(cfg *tls.Config, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{TLSClientConfig: cfg, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (p *pages) close() {
	p.http.CloseIdleConnections()
	p.anonymously.CloseIdleConnections()
}

// readAll reads the pages of all members that answered, at the same time.
func (p *pages) readAll(ctx context.Context, c *Cluster) map[ID]*page {
	all := make(map[ID]*page)
	var reading sync.WaitGroup
	for _, m := range c.Members {
		if !m.Reachable {
			continue
		}
		one := new(page)
		all[m.ID] = one
		reading.Go(func() { p.read(ctx, m.Endpoint, one) }) // waited for below
	}
	reading.Wait()
	return all
}

func (p *pages) read(ctx context.Context, endpoint string, into *page) {
	base, err := p.url(endpoint)
	if err != nil {
		into.problem = err.Error()
		return
	}
	p.readMetrics(ctx, base, into)
	p.readVersion(ctx, base, into)
	if !into.served {
		return
	}
	into.gateway = p.hasGateway(ctx, base)
	into.certificate = notDemanded
	if strings.HasPrefix(base, "https://") {
		into.certificate = p.demand(ctx, base)
	}
}

// demandTries is how often a connection that just breaks is made: the reset of a connection can overtake the alert
// that says why.
const demandTries = 3

// demand asks without a certificate. An answer of any kind shows that none is demanded, and a TLS alert that one is: the
// same request with a certificate was answered. Nothing else says anything.
func (p *pages) demand(ctx context.Context, base string) demand {
	for range demandTries {
		_, resp, err := p.get(ctx, p.anonymously, base+"/version")
		switch {
		case resp != nil:
			return notDemanded
		case isAlert(err):
			return demanded
		case isTimeout(err) || ctx.Err() != nil:
			return demandUnknown
		}
	}
	return demandUnknown
}

// isAlert tells whether the other side ended the TLS connection with an alert. crypto/tls has no type for that which
// can be named: it says so in Op (tls.Conn's readRecord, in conn.go).
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// url is where the member at an endpoint serves HTTP.
func (p *pages) url(endpoint string) (string, error) {
	switch {
	case strings.HasPrefix(endpoint, "unix"):
		return "", errors.New("it was asked over a unix socket")
	case strings.Contains(endpoint, "://"):
		return strings.TrimSuffix(endpoint, "/"), nil
	case p.opts.TLS != nil:
		return "https://" + endpoint, nil
	default:
		return "http://" + endpoint, nil
	}
}

func (p *pages) readMetrics(ctx context.Context, base string, into *page) {
	body, resp, err := p.get(ctx, p.http, base+"/metrics")
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /metrics: %s", resp.Status)
	}
	if err == nil {
		err = into.parse(body)
	}
	if err != nil {
		into.problem = quote.Line(plainProblem(err), 2*quote.Most)
	}
}

// parse reads metrics in Prometheus's text format.
func (p *page) parse(text []byte) error {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	metrics, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err == nil {
		p.metrics = metrics
	}
	return err
}

// readVersion reads the page that every member serves over HTTP, for what its headers say.
func (p *pages) readVersion(ctx context.Context, base string, into *page) {
	began, wall := time.Now(), time.Now()
	_, resp, err := p.get(ctx, p.http, base+"/version")
	if err != nil || resp.StatusCode != http.StatusOK {
		return
	}
	into.served = true
	origin := resp.Header.Get("Access-Control-Allow-Origin")
	into.anyOrigin = origin == "*" || origin == foreignOrigin
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		half := time.Since(began) / 2
		into.clockAhead = at.Add(500 * time.Millisecond).Sub(wall.Add(half)) // Date is cut to whole seconds
		into.clockError = 500*time.Millisecond + half
	}
}

// hasGateway asks the JSON API for the member's status. Any answer in JSON is one of the gateway's, a refusal included.
func (p *pages) hasGateway(ctx context.Context, base string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		return false
	}
	_, resp, err := p.do(p.http, req)
	return err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
}

func (p *pages) get(ctx context.Context, client *http.Client, url string) ([]byte, *http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Origin", foreignOrigin)
	return p.do(client, req)
}

func (p *pages) do(client *http.Client, req *http.Request) ([]byte, *http.Response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestPage))
	return body, resp, err
}

// plainProblem is an error of net/http without the request in front of it.
func plainProblem(err error) string {
	if isTimeout(err) {
		return "no answer in time"
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	return err.Error()
}
