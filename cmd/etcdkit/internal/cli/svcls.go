package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/registry"
)

func newSvcLs(a *app) *cobra.Command {
	var format out.Format
	var prefix string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "the services, and how many of their instances take requests", Args: needs("", 0, 0),
		Long:    paragraphs("Lists services with the number of their instances, of those that take requests (passing or warning), and all statuses. A value that is not an instance counts as bad; 'svc get' says why."),
		Example: "  etcdkit svc ls\n  etcdkit svc ls -o value\n  etcdkit svc ls -o jsonl | jq 'select(.available == 0)'",
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return a.onServices(cmd, &prefix, func(ctx context.Context, op *registry.Operator, _ []string) error {
		records, err := op.Records(ctx, "")
		if err != nil {
			return err
		}
		return a.printServices(format, prefix, summaries(records))
	})
}

// summary is a service as svc ls prints it.
type summary struct {
	Service   string         `json:"service"`
	Instances int            `json:"instances"`
	Available int            `json:"available"`
	Statuses  map[string]int `json:"statuses"`
	Waiting   int            `json:"overrides_waiting"` // without an instance
}

// badStatus stands for a value that is not an instance.
const badStatus = "bad"

// summaries counts records, which are in the order of their services.
func summaries(records []registry.Record) (all []*summary) {
	for _, r := range records {
		last := len(all) - 1
		if last < 0 || all[last].Service != r.Service {
			all = append(all, &summary{Service: r.Service, Statuses: make(map[string]int)})
			last++
		}
		s := all[last]
		switch {
		case !r.Registered():
			s.Waiting++
			continue
		case r.Err != nil:
			s.Statuses[badStatus]++
		default:
			s.Statuses[string(r.Instance.Status)]++
		}
		s.Instances++
		if takesRequests(&r) {
			s.Available++
		}
	}
	return all
}

func (a *app) printServices(format out.Format, prefix string, all []*summary) error {
	if len(all) == 0 {
		a.say("no services below %q", prefix)
	}
	list := a.out.Records(format, "SERVICE", "INSTANCES", "AVAILABLE", "STATUSES")
	for _, s := range all {
		available := out.Plain
		switch {
		case s.Available == 0:
			available = out.Red
		case s.Available < s.Instances:
			available = out.Orange
		}
		err := list.Add(out.Record{
			Row: []out.Cell{
				{Text: out.Safe(s.Service), Colour: out.Bold}, {Text: fmt.Sprint(s.Instances), Right: true},
				{Text: fmt.Sprint(s.Available), Right: true, Colour: available}, {Text: s.statuses()},
			},
			Value: []byte(s.Service), JSON: s,
		})
		if err != nil {
			return err
		}
	}
	return list.Close()
}

// statuses counts them in words, in the order of how good they are.
func (s *summary) statuses() string {
	order := []string{string(registry.Passing), string(registry.Warning), string(registry.Draining), string(registry.Maintenance), string(registry.Critical), badStatus}
	var words []string
	for _, status := range order {
		if n := s.Statuses[status]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, status))
		}
	}
	if s.Waiting > 0 {
		words = append(words, out.Count(s.Waiting, "override")+" without an instance")
	}
	return strings.Join(words, ", ")
}
