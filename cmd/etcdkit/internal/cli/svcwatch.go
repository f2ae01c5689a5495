package cli

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

func newSvcWatch(a *app) *cobra.Command {
	var format out.Format
	var prefix string
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "watch NAME", Short: "a service's instances as they come, change and go", Args: needs("which service? etcdkit svc ls has them", 1, 1),
		Long: paragraphs(
			"Prints the instances that there are, and then each change, until it is interrupted. A change is joined, changed or left. While etcd cannot be reached the list stays as it is; a line says stale, since when and why, and later fresh. Of changes that come faster than they are read, the last one is printed.",
			"When most instances expire at the same time they stay listed for a minute, with the status expired."),
		Example: "  etcdkit svc watch web\n  etcdkit svc watch web -o jsonl | jq -c 'select(.event == \"left\") | .id'\n  etcdkit svc watch web -o template='{{.event}} {{.id}}'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Template)
	return a.onServicesClient(cmd, &prefix, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		v, err := discovery.Open(ctx, cli, args[0], &discovery.Options{Prefix: prefix})
		if err != nil {
			return err
		}
		defer v.Close()
		return a.watchService(ctx, v, a.out.Stream(format))
	})
}

// serviceEvent is a line of svc watch.
type serviceEvent struct {
	Event    string            `json:"event"`
	Service  string            `json:"service"`
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Status   string            `json:"status"`
	Reason   string            `json:"reason"`
	Zone     string            `json:"zone"`
	Weight   int               `json:"weight"`
	Version  string            `json:"version"`
	Tags     []string          `json:"tags"`
	Metadata map[string]string `json:"metadata"`
	Error    string            `json:"error"`
	Revision int64             `json:"revision"`
}

// watchService prints what happens to a service until ctx ends.
func (a *app) watchService(ctx context.Context, v *discovery.View, stream *out.Records) error {
	w := &serviceWatch{view: v, stream: stream, instances: make(map[string]*discovery.Instance), bad: make(map[string]error), fresh: true, event: "present"}
	for {
		changed, freshness := v.Changed(), v.FreshnessChanged()
		if err := w.print(); err != nil {
			return err
		}
		w.event = "joined"
		select {
		case <-changed:
		case <-freshness:
		case <-v.Done():
			return v.Err()
		case <-ctx.Done():
			return interrupted(ctx, ctx.Err())
		}
	}
}

// serviceWatch is what svc watch has printed.
type serviceWatch struct {
	view      *discovery.View
	stream    *out.Records
	instances map[string]*discovery.Instance
	bad       map[string]error
	fresh     bool
	event     string // of an instance that is new
}

// print prints how the list differs from what was printed before.
func (w *serviceWatch) print() error {
	state, list := w.view.State(), w.view.Instances()
	now := make(map[string]*discovery.Instance, len(list))
	for _, i := range list {
		now[i.ID] = i
		event, was := w.event, w.instances[i.ID]
		if was != nil {
			event = "changed"
			if was == i || reflect.DeepEqual(was.Instance, i.Instance) && was.Created == i.Created {
				continue
			}
		}
		if err := w.instance(event, i, state.Revision); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.instances)) {
		if now[id] == nil {
			if err := w.instance("left", w.instances[id], state.Revision); err != nil {
				return err
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(state.Bad)) {
		if err := state.Bad[key]; w.bad[key] == nil || w.bad[key].Error() != err.Error() {
			text := errtext.Text(err)
			if err := w.add(serviceEvent{Event: badStatus, ID: key, Error: text, Revision: state.Revision}, fmt.Sprintf("! %s is not an instance: %s", out.Safe(key), out.Safe(text))); err != nil {
				return err
			}
		}
	}
	w.instances, w.bad = now, state.Bad
	return w.freshness(&state)
}

// freshness prints that the list has become stale, or fresh again.
func (w *serviceWatch) freshness(s *discovery.State) error {
	if s.Fresh == w.fresh {
		return nil
	}
	w.fresh = s.Fresh
	if s.Fresh {
		return w.add(serviceEvent{Event: "fresh", Revision: s.Revision}, "fresh: etcd confirms the list")
	}
	text := ""
	if s.Cause != nil {
		text = errtext.Text(s.Cause)
	}
	return w.add(serviceEvent{Event: "stale", Error: text, Revision: s.Revision}, fmt.Sprintf("stale since %s: %s", s.Since.Format(time.TimeOnly), out.Safe(text)))
}

func (w *serviceWatch) instance(event string, i *discovery.Instance, revision int64) error {
	sign := map[string]string{"joined": "+", "left": "-", "changed": "~", "present": "="}[event]
	line := fmt.Sprintf("%s %s  %s  %s", sign, out.Safe(i.ID), out.Safe(address(&i.Instance)), i.Status)
	if i.Reason != "" {
		line += ": " + out.Safe(i.Reason)
	}
	return w.add(serviceEvent{
		Event: event, ID: i.ID, Address: address(&i.Instance), Status: string(i.Status), Reason: i.Reason, Zone: i.Zone, Weight: i.Weight,
		Version: i.Version, Tags: i.Tags, Metadata: i.Metadata, Revision: revision,
	}, line)
}

func (w *serviceWatch) add(e serviceEvent, line string) error {
	e.Service = w.view.Service()
	e.Tags = nonNil(e.Tags)
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	return w.stream.Add(out.Record{Line: line, JSON: e})
}
