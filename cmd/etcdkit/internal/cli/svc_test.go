package cli

import (
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/registry"
)

// services is a shell with instances of every kind.
func services(t *testing.T) *shell {
	s := newShell(t)
	s.scrub(` +\d+s\b`, " AGE")
	s.scrub(`"(pid|age_seconds|create_revision|mod_revision|revision)":[\d.]+`, `"$1":N`)
	s.scrub(`"(since|host|by)":"[^"]*"`, `"$1":"TEXT"`)
	s.scrub(`\bpid \d+ on host \S+`, "pid N on host HOST")
	s.scrub(`set (for it )?by [^ ;\n]+`, "set ${1}by USER@HOST")
	s.scrub(regexp.QuoteMeta(self())+`\b`, "etcdkit")
	for _, i := range []registry.Instance{
		{Service: "web", ID: "node1", Addr: "10.0.0.1:80", Zone: "a", Version: "v1", Weight: 3, Tags: []string{"blue"}},
		{Service: "web", ID: "node2", Addr: "10.0.0.2:80", Status: registry.Critical, Reason: "disk full"},
		{Service: "cache", ID: "c1", Addr: "10.0.1.1:11211", Status: registry.Critical},
	} {
		reg, err := registry.Register(t.Context(), s.cli, i, &registry.Options{Prefix: s.prefix, TTL: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { reg.Close() })
	}
	for key, value := range map[string]string{
		"web/legacy": "10.0.0.9:80", "web/bad": "{\x1b[31m", "web/raw": "value\x07", "db/kitex": `{"network":"tcp","address":"10.0.0.5:80","weight":10}`,
		".overrides/db/gone": `{"status":"maintenance","reason":"disk swap","by":"ann@bastion"}`,
	} {
		if _, err := s.cli.Put(t.Context(), s.prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestServicesAreListed(t *testing.T) {
	s := services(t)
	p := "--prefix=" + s.prefix
	s.golden("svc",
		[]string{"svc", "ls", p},
		[]string{"svc", "ls", p, "-o", "value"},
		[]string{"svc", "ls", p, "-o", "jsonl"},
		[]string{"svc", "ls", "--prefix", s.prefix + "none/"},
		[]string{"svc", "ls", "--prefix", "none"},
		[]string{"svc", "get", "web", p},
		[]string{"svc", "get", "web", p, "--available"},
		[]string{"svc", "get", "web", p, "-o", "value"},
		[]string{"svc", "get", "web", p, "-o", "template={{.id}} {{.status}} {{.available}}"},
		[]string{"svc", "get", "db", p, "-o", "json"},
		[]string{"svc", "get", "cache", p, "--available"},
		[]string{"svc", "get", "nothing", p},
		[]string{"svc", "get", "a/b", p},
		[]string{"svc", "get"},
	)
}

func TestServicesAndInstancesAreCompleted(t *testing.T) {
	s := services(t)
	p := "--prefix=" + s.prefix
	for want, args := range map[string][]string{
		"cache\ndb\nweb\n:4\n": {"svc", "get", p, ""},
		"web\n:4\n":            {"svc", "register", p, "w"},
		"node1\nnode2\n:4\n":   {"svc", "maint", p, "web", "n"},
		"on\noff\n:4\n":        {"svc", "drain", p, "web", "node1", ""},
	} {
		if got, _, code := s.run(append([]string{"__complete"}, args...)...); code != 0 || got != want {
			t.Errorf("%v: got %q, exit code %d, want %q", args, got, code, want)
		}
	}
}

func TestInstancesAreTakenOutAndBack(t *testing.T) {
	s := services(t)
	p := "--prefix=" + s.prefix
	s.golden("svc-maint",
		[]string{"svc", "maint", "web", "node1", "on", "--reason", "disk swap", p},
		[]string{"svc", "get", "web", p},
		[]string{"svc", "maint", "web", "node1", "off", p},
		[]string{"svc", "maint", "web", "node1", "off", p},
		[]string{"svc", "drain", "web", "node2", p},
		[]string{"svc", "drain", "web", "node2", "off", p},
		[]string{"svc", "maint", "db", "gone", "off", p},
		[]string{"svc", "maint", "db", "gone", "off", p},
		[]string{"svc", "maint", "web", "legacy", "on", p},
		[]string{"svc", "maint", "web", "nobody", "on", p},
		[]string{"svc", "maint", "web", "node1", "maybe", p},
		[]string{"svc", "maint", "web", "node1", "off", "--reason", "x", p},
		[]string{"svc", "maint", "web", "node1"},
		[]string{"svc", "deregister", "web", "legacy", p},
		[]string{"svc", "deregister", "web", "legacy", "--yes", p},
		[]string{"svc", "deregister", "web", "legacy", "--yes", p},
		[]string{"svc", "deregister", "web", "node1", "--yes", p},
		[]string{"svc", "deregister", "web", "bad", "--force", "--yes", p},
	)
}

func TestSvcRegisterRefusesBadInputBeforeItStartsAnything(t *testing.T) {
	s := newShell(t)
	s.golden("svc-register",
		[]string{"svc", "register"},
		[]string{"svc", "register", "web", "--port", "80", "--"},
		[]string{"svc", "register", "web", "./server", "--port", "80"},
		[]string{"svc", "register", "web", "--", "true"},
		[]string{"svc", "register", "web", "--port", "80", "--addr", "h:1", "--", "true"},
		[]string{"svc", "register", "web", "--port", "70000", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h", "--", "true"},
		[]string{"svc", "register", "a/b", "--addr", "h:1", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--weight", "0", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--meta", "x", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--check-http", "healthz", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--ttl", "1s", "--", "true"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--", "no-such-command"},
		[]string{"svc", "register", "web", "--addr", "h:1", "--", "/"},
	)
}

// lineWriter hands lines on, one by one.
func lineWriter(t *testing.T) (io.Writer, func() string) {
	t.Helper()
	read, write := io.Pipe()
	t.Cleanup(func() { read.Close() })
	lines := make(chan string, 100)
	go func() { // ends with the pipe
		d := json.NewDecoder(read)
		for {
			var v json.RawMessage
			if d.Decode(&v) != nil {
				close(lines)
				return
			}
			lines <- string(v)
		}
	}()
	return write, func() string {
		t.Helper()
		select {
		case line := <-lines:
			return line
		case <-time.After(30 * time.Second):
			t.Fatal("no line within 30 s")
			return ""
		}
	}
}

func TestSvcWatchPrintsWhatHappens(t *testing.T) {
	s := newShell(t)
	key := s.prefix + "web/a"
	if _, err := s.cli.Put(t.Context(), key, "10.0.0.1:80"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	write, line := lineWriter(t)
	code := make(chan int, 1)
	go func() { // ends with ctx
		code <- Run(ctx, []string{"svc", "watch", "web", "--prefix", s.prefix, "-o", "jsonl"}, strings.NewReader(""), write, io.Discard)
	}()
	for _, step := range []struct {
		key, value string // "" deletes
		want       string
	}{
		{"", "", `{"event":"present","service":"web","id":"a","address":"10.0.0.1:80","status":"passing",`},
		{key, "10.0.0.2:80", `{"event":"changed","service":"web","id":"a","address":"10.0.0.2:80",`},
		{s.prefix + "web/b", "10.0.0.3:80", `{"event":"joined","service":"web","id":"b",`},
		{s.prefix + "web/c", "{", `{"event":"bad","service":"web","id":"` + s.prefix + `web/c",`},
		{key, "", `{"event":"left","service":"web","id":"a",`},
	} {
		var err error
		switch {
		case step.key == "":
		case step.value == "":
			_, err = s.cli.Delete(t.Context(), step.key)
		default:
			_, err = s.cli.Put(t.Context(), step.key, step.value)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := line(); !strings.HasPrefix(got, step.want) {
			t.Errorf("got %s, want %s…", got, step.want)
		}
	}
	cancel()
	if got := <-code; got != ExitInterrupted {
		t.Errorf("exit code %d, want %d", got, ExitInterrupted)
	}
}
