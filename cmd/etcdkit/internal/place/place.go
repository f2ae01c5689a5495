// Package place is where the cluster is that a command works on: that of the environment, or one of its own.
//
//	p, err := place.Open(ctx, nil)
//	defer p.Close()
//	p.Client.Put(ctx, "key", "value")
package place

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
)

// Options of Open. nil is the zero value.
type Options struct {
	Logger *slog.Logger // of a cluster of its own; nil is silent

	// StatusHint, if not nil, is what an error about a cluster without a quorum ends with.
	StatusHint func(ctx context.Context, endpoints []string) string
}

// Place is a cluster and a client of it.
type Place struct {
	Client    *clientv3.Client
	TLS       *tls.Config      // of what is asked of a member without Client, by Find; nil is plaintext
	Own       *cluster.Cluster // nil on a cluster of the environment
	Endpoints []string
	Members   int

	BeforeClose func() // unless it is nil, Close calls it first
}

// quorumTimeout is how long a cluster may take to answer with a quorum: a few elections.
const quorumTimeout = 5 * time.Second

// Open finds the cluster of the environment, or starts one with three members.
func Open(ctx context.Context, opts *Options) (*Place, error) {
	if opts == nil {
		opts = &Options{}
	}
	p := new(Place)
	if Variable() == "" {
		var err error
		if p.Own, _, err = Start(ctx, &cluster.Options{Logger: opts.Logger}); err != nil {
			return nil, err
		}
	}
	if err := p.open(ctx, opts); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close ends what Open began.
func (p *Place) Close() error {
	if p.BeforeClose != nil {
		p.BeforeClose()
	}
	var errs []error
	if p.Client != nil {
		errs = append(errs, p.Client.Close())
	}
	if p.Own != nil {
		errs = append(errs, p.Own.Close())
	}
	return errors.Join(errs...)
}

// Kind is the cluster in words.
func (p *Place) Kind() string {
	if p.Own != nil {
		return fmt.Sprintf("a new cluster of %d members", p.Members)
	}
	return "the cluster of the environment"
}

// String is the cluster in words, and where it is.
func (p *Place) String() string { return p.Kind() + " at " + strings.Join(p.Endpoints, ",") }

// Variable is the variable of the environment that names a cluster, or "".
func Variable() string {
	for _, v := range []string{"ETCDKIT_ENDPOINTS", "ETCDCTL_ENDPOINTS"} {
		if os.Getenv(v) != "" {
			return v
		}
	}
	return ""
}

// staleError: the cluster of the environment does not answer. The variable is often left from one that
// ran before.
type staleError struct{ err error }

func (e *staleError) Error() string {
	// package client's advice is about programs that use a running cluster; these commands start one.
	variable := Variable()
	what := e.err.Error()
	var end interface{ Advice() string }
	if errors.As(e.err, &end) {
		what = strings.TrimSuffix(what, "; "+end.Advice())
	}
	return fmt.Sprintf("%s (from %s); start that cluster, or unset %[2]s: then a new cluster is started", strings.TrimPrefix(what, "client: "), variable)
}

func (e *staleError) Unwrap() error { return e.err }

// Start starts a cluster on the usual ports, or on free ones if they are taken; then taken says what
// holds them.
func Start(ctx context.Context, opts *cluster.Options) (c *cluster.Cluster, taken *cluster.PortTakenError, err error) {
	c, err = cluster.Start(ctx, opts)
	if !errors.As(err, &taken) || taken.Kept {
		return c, nil, err
	}
	free := *opts
	free.AnyPort = true
	c, err = cluster.Start(ctx, &free)
	return c, taken, err
}

// Dial opens one more client.
func (p *Place) Dial(ctx context.Context) (*clientv3.Client, error) {
	return client.Dial(ctx, p.options())
}

// options are those of a client. The settings of the environment belong to the cluster of the environment.
func (p *Place) options() *client.Options {
	if p.Own == nil {
		return nil
	}
	return &client.Options{Endpoints: p.Own.Endpoints(), Getenv: func(string) string { return "" }}
}

func (p *Place) open(ctx context.Context, opts *Options) (err error) {
	if p.Endpoints, err = client.Endpoints(p.options()); err != nil {
		return err
	}
	if p.Client, err = p.Dial(ctx); err != nil {
		if p.Own == nil && errors.Is(err, client.ErrUnreachable) {
			return &staleError{err}
		}
		return err
	}
	asking, cancel := context.WithTimeout(ctx, quorumTimeout)
	defer cancel()
	members, err := p.Client.MemberList(asking)
	where := strings.Join(p.Endpoints, ",")
	switch {
	case err == nil:
		p.Members = len(members.Members)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case asking.Err() == nil:
		return fmt.Errorf("list the members at %s: %w", where, err)
	}
	hint := ""
	if opts.StatusHint != nil {
		hint = opts.StatusHint(ctx, p.Endpoints)
	}
	return fmt.Errorf("the members at %s answer, but not with a quorum (%w)%s", where, err, hint)
}

// Environ is the environment for a program that works on the cluster, too.
func (p *Place) Environ(environ []string) []string {
	if p.Own != nil {
		return OwnEnviron(environ, p.Endpoints)
	}
	return Environ(environ, p.Endpoints)
}
