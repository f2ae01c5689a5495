package cli

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
)

// reply is what zsh gets for words, the last of which is being typed: the kind, where it begins, and the names. It waits
// for etcd as long as a busy machine takes.
func (s *shell) reply(words ...string) (head string, names []string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		out: out.New(&stdout, &stderr), stdin: strings.NewReader(""), self: self(), completeWithin: time.Minute,
		args: append([]string{"completion", "reply", "zsh"}, words...),
	}
	if code := a.run(s.t.Context()); code != 0 || stderr.Len() > 0 {
		s.t.Errorf("%q: exit code %d: %s", words, code, &stderr)
	}
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(line, "\t")
		names = append(names, strings.ReplaceAll(name, s.prefix, ""))
	}
	return lines[0], names
}

func TestEachPlaceOfALineIsCompleted(t *testing.T) {
	s := services(t)
	m := lock.New(s.cli, s.prefix+"nightly", nil)
	t.Cleanup(func() { m.Close() })
	hold, err := m.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := election.New(s.cli, s.prefix+"leader", nil)
	t.Cleanup(func() { e.Close() })
	if _, err := e.Campaign(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	s.put("key", "")
	lease, err := s.cli.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	id := out.Hex(int64(lease.ID))
	if _, _, code := s.run("ctx", "add", "prod", "--endpoints", "10.0.0.1:2379"); code != 0 {
		t.Fatal("no context")
	}
	p, in := s.prefix, "--prefix="+s.prefix
	for _, tc := range []struct {
		line, head, names string // words are separated by spaces
	}{
		{"lock " + p + "n", "names 0", "nightly"},
		{"lock run " + p + "n", "names 0", "nightly"},
		{"lock acquire " + p + "n", "names 0", "nightly"},
		{"lock show " + p + "n", "names 0", "nightly"},
		{"lock revoke " + p + "n", "names 0", "nightly"},
		{"lock renew ", "names 0", ""},
		{"lock re", "names 0", "release renew revoke"},
		{"lock x ", "names 0", "--"},
		{"lock --ttl ", "names 0", ""},
		{"lock -- ", "command 3", ""},
		{"lock x -- l", "command 4", ""},
		{"lock x -- ls -l", "command 4", ""},
		{"lock revoke " + p + "nightly --entry ", "names 0", strings.TrimPrefix(hold.Key(), p)},
		{"elect run " + p + "l", "names 0", "leader"},
		{"elect resign " + p + "l", "names 0", "leader"},
		{"elect re", "names 0", "resign"},
		{"elect x here -- ", "command 5", ""},
		{"dev run ", "command 3", ""},
		{"dev run --members 1 go test", "command 5", ""},
		{"svc get " + in + " c", "names 0", "cache"},
		{"svc watch " + in + " w", "names 0", "web"},
		{"svc drain " + in + " web n", "names 0", "node1 node2"},
		{"svc maint " + in + " web node1 ", "names 0", "on off"},
		{"svc deregister " + in + " web node2", "names 0", "node2"},
		{"svc get --prefix=" + p + "ca", "names 9", "cache/"},
		{"render --service-prefix=" + p + " --min we", "names 0", "web="},
		{"render --service-prefix=" + p + " --min=we", "names 6", "web="},
		{"render a.tmpl", "files 0", ""},
		{"render a.tmpl:b c.tmpl:", "files 7", ""},
		{"watch " + p + "k", "names 0", "key"},
		{"watch --on-change ", "names 0", "run signal signal= restart"},
		{"env -p " + p + "k", "names 0", "key"},
		{"get " + p + "a " + p + "k", "names 0", "key"},
		{"copy " + p + "k " + p + "k", "names 0", "key"},
		{"put " + p + "k", "names 0", "key"},
		{"put k @", "files 1", ""},
		{"put k v", "names 0", ""},
		{"put k v --lease " + id, "names 0", id},
		{"lease show " + id, "names 0", id},
		{"lease revoke 1 " + id, "names 0", id},
		{"lease keep-alive " + id, "names 0", id},
		{"lease watch " + id, "names 0", id},
		{"ctx use ", "names 0", "prod"},
		{"ctx rm p", "names 0", "prod"},
		{"get --context ", "names 0", "prod"},
		{"copy --to-context=", "names 13", "prod"},
		{"get -o ", "names 0", "value table json jsonl template="},
		{"env -o e", "names 0", "export"},
		{"dev -o ", "names 0", "text json"},
		{"get --cacert ", "files 0", ""},
		{"copy --to-key=", "files 9", ""},
		{"snapshot save ", "files 0", ""},
		{"snapshot restore x --data-dir=", "directories 11", ""},
		{"man ", "directories 0", ""},
		{"import ", "files 0", ""},
		{"completion z", "names 0", "zsh"},
		{"help sna", "names 0", "snapshot"},
		{"etcd ", "names 0", ""},
		{"nothing ", "names 0", ""},
		{"get --nothing ", "names 0", ""},
	} {
		head, names := s.reply(strings.Split(tc.line, " ")...)
		if got := strings.Join(names, " "); head != tc.head || got != tc.names {
			t.Errorf("%s: got %q and %q, want %q and %q", tc.line, head, got, tc.head, tc.names)
		}
	}
	if _, names := s.reply("race", "--only", "etcdkit,"); len(names) == 0 || !strings.HasPrefix(names[0], "etcdkit,") {
		t.Errorf("race --only etcdkit,: got %q", names)
	}
}

func TestEveryFlagWithAFewValuesIsCompleted(t *testing.T) {
	a := &app{out: out.New(io.Discard, io.Discard)}
	root := newRoot(a)
	// The values of these are times, numbers, texts and addresses.
	free := strings.Fields(`endpoints to user to-user dial-timeout timeout ttl kill-grace n every wait rev limit min-create-rev max-create-rev
		min-mod-rev max-mod-rev cas from search separator depth debounce start-timeout command-timeout exec check perm reason addr port id tag meta
		weight zone version check-http check-tcp check-grpc check-cmd check-interval drain clients rounds cluster prefix-from name initial-cluster
		initial-advertise-peer-urls initial-cluster-token bump-revision`)
	for _, cmd := range commands(root) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			find := a.flagValue(strings.TrimPrefix(cmd.CommandPath(), "etcdkit "), f)
			if f.Value.Type() != "bool" && (find != nil) == slices.Contains(free, f.Name) {
				t.Errorf("%s --%s: completed: %v", cmd.CommandPath(), f.Name, find != nil)
			}
		})
	}
	for path := range a.arguments() {
		if cmd, _, err := root.Find(strings.Fields(path)); err != nil || cmd.CommandPath() != "etcdkit "+path {
			t.Errorf("there is no command %q", path)
		}
	}
	for name := range a.flagValues() {
		name = name[strings.LastIndex(name, " --")+1:] // of one command
		name = strings.TrimPrefix(name, "--")
		if !slices.ContainsFunc(commands(root), func(c *cobra.Command) bool { return c.Flags().Lookup(name) != nil }) {
			t.Errorf("there is no flag --%s", name)
		}
	}
}

func TestOfVeryManyNamesNoShellTakesTheFirstOnesForAll(t *testing.T) {
	s := newShell(t)
	for i := range mostCompletions + 1 {
		s.put("key"+strings.Repeat("x", i+1), "")
	}
	_, names := s.reply("get", s.prefix+"k")
	if len(names) != mostCompletions+1 || names[mostCompletions] != "k"+andMore {
		t.Errorf("got %d names, want %d and %q", len(names), mostCompletions, "k"+andMore)
	}
}
