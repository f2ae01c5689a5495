package devctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/etcdkit/etcdkit/cluster"
)

// Client speaks to a running dev cluster.
type Client struct{ socket string }

// UsageError is a mistake of the caller: the command line says how it is meant.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Status is the state of the cluster.
func (k *Client) Status(ctx context.Context) (cluster.State, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s cluster.State
	return s, k.call(ctx, http.MethodGet, "/status", nil, &s)
}

// Fault has the cluster carry out a fault of Faults, and says what that did.
func (k *Client) Fault(ctx context.Context, verb string, args []string) (*cluster.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout+statusTimeout)
	defer cancel()
	b, err := json.Marshal(request{verb, args})
	if err != nil {
		return nil, err
	}
	var r reply
	if err := k.call(ctx, http.MethodPost, "/fault", bytes.NewReader(b), &r); err != nil {
		return nil, err
	}
	return r.Change, r.err()
}

// Member is the state of the member that a name means, which may be "leader" or "follower".
func (k *Client) Member(ctx context.Context, name string) (*cluster.MemberState, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var r reply
	if err := k.call(ctx, http.MethodGet, "/member?name="+url.QueryEscape(name), nil, &r); err != nil {
		return nil, err
	}
	return r.Member, r.err()
}

func (k *Client) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", k.socket)
	}
	hc := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, method, "http://etcdkit"+path, body)
	if err != nil {
		return err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return fmt.Errorf("ask the cluster at %s: %w", k.socket, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask the cluster at %s: %w", k.socket, err)
	}
	return nil
}
