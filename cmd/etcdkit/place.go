package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
)

// place is the cluster that tour and race are on: that of the environment, or one of their own.
type place struct {
	cli       *clientv3.Client
	own       *cluster.Cluster // nil on a cluster of the environment
	endpoints []string
	members   int
}

// quorumTimeout is how long a cluster may take to answer with a quorum: a few elections.
const quorumTimeout = 5 * time.Second

// findPlace finds the cluster of the environment, or starts one.
func findPlace(ctx context.Context) (*place, error) {
	p := new(place)
	if !inEnvironment() {
		var err error
		if p.own, err = startOwn(ctx); err != nil {
			return nil, err
		}
		forgetConnection()
	}
	if err := p.dial(ctx); err != nil {
		return nil, errors.Join(err, p.leave())
	}
	return p, nil
}

// leave ends what findPlace began.
func (p *place) leave() error {
	var errs []error
	if p.cli != nil {
		errs = append(errs, p.cli.Close())
	}
	if p.own != nil {
		errs = append(errs, p.own.Close())
	}
	return errors.Join(errs...)
}

func (p *place) kind() string {
	if p.own != nil {
		return fmt.Sprintf("a new cluster of %d members", p.members)
	}
	return "the cluster of the environment"
}

func (p *place) describe() string { return p.kind() + " at " + strings.Join(p.endpoints, ",") }

func inEnvironment() bool { return endpointsVariable() != "" }

// endpointsVariable is the variable that names a cluster, or "".
func endpointsVariable() string {
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
	variable := endpointsVariable()
	what, _, _ := strings.Cut(e.err.Error(), "; "+variable+" says so")
	return fmt.Sprintf("%s (from %s); start that cluster, or unset %[2]s: then a new cluster is started", strings.TrimPrefix(what, "client: "), variable)
}

func (e *staleError) Unwrap() error { return e.err }

// startOwn starts a cluster on the usual ports, or on free ones if they are taken.
func startOwn(ctx context.Context) (*cluster.Cluster, error) {
	logger := slog.New(&lines{to: os.Stderr, least: slog.LevelError})
	return startAnywhere(ctx, &cluster.Options{Logger: logger}, io.Discard)
}

func (p *place) dial(ctx context.Context) (err error) {
	var opts client.Options
	if p.own != nil {
		opts.Endpoints = p.own.Endpoints()
	}
	if p.endpoints, err = client.Endpoints(&opts); err != nil {
		return err
	}
	if p.cli, err = client.Dial(ctx, &opts); err != nil {
		if p.own == nil && errors.Is(err, client.ErrUnreachable) {
			return &staleError{err}
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, quorumTimeout)
	defer cancel()
	members, err := p.cli.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("the members at %s answer, but not with a quorum (%w); etcdkit dev status shows who is up", strings.Join(p.endpoints, ","), err)
	}
	p.members = len(members.Members)
	return nil
}
