package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// HTTP is a check by a GET: any 2xx is a pass, 429 Too Many Requests a warning, as for Consul, and any
// other answer a failure. A path such as "/healthz" is requested from the instance, over plain HTTP; a
// whole URL is used as it is. Up to ten redirects are followed.
func HTTP(address string) Check {
	u, err := url.Parse(address)
	probe := &httpProbe{own: strings.HasPrefix(address, "/"), address: address, client: &http.Client{
		// No connection of an earlier probe is used, and no proxy.
		Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
	}}
	c := Check{Name: "http", Probe: probe.probe}
	c.usable = func() error {
		switch {
		case err != nil:
			return err
		case probe.own && u.Host == "", (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
			return nil
		}
		return fmt.Errorf("%q: want a path such as /healthz or a URL such as https://host/healthz", address)
	}
	if err == nil { // without user and query, which may be secret
		c.Name = strings.TrimSpace("http " + u.Path)
		if !probe.own {
			c.Name = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
		}
	}
	return c
}

type httpProbe struct {
	own     bool // address is a path at the instance
	address string
	client  *http.Client
}

func (p *httpProbe) probe(ctx context.Context, addr string) (string, error) {
	to := p.address
	if p.own {
		to = "http://" + addr + to
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "etcdkit-health")
	resp, err := p.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the check's name says where
		}
		return "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode/100 == 2:
		return resp.Status, nil
	case resp.StatusCode == http.StatusTooManyRequests:
		return resp.Status, ErrWarning
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4*MaxOutput)) // as much of it as has come
	if text := strings.TrimSpace(string(said)); text != "" && !strings.Contains(resp.Status, text) {
		return resp.Status + ": " + text, errFailed
	}
	return resp.Status, errFailed
}

// errFailed is for probes whose output says why they fail.
var errFailed = errors.New("health: failed")
