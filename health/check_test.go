package health_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/etcdkit/etcdkit/health"
)

func TestWhatCannotBeRunIsNamed(t *testing.T) {
	ran := false
	good := health.Func("good", func(context.Context) error { ran = true; return nil })
	edit := func(change func(*health.Check)) []health.Check {
		c := good
		c.Name = "edited"
		change(&c)
		return []health.Check{good, c}
	}
	many := make([]health.Check, 17)
	for n := range many {
		many[n] = health.TCP(fmt.Sprint("h:", n))
	}
	for text, checks := range map[string][]health.Check{
		"it has no Probe":                  {health.Func("f", nil)},
		"want 1 to 100":                    edit(func(c *health.Check) { c.Name = " " }),
		"has 101 bytes":                    edit(func(c *health.Check) { c.Name = strings.Repeat("x", 101) }),
		"one line of UTF-8":                edit(func(c *health.Check) { c.Name = "a\nb" }),
		"interval 5ns":                     edit(func(c *health.Check) { c.Interval = 5 }),
		"interval -1s":                     edit(func(c *health.Check) { c.Interval = -time.Second }),
		"timeout -1s":                      edit(func(c *health.Check) { c.Timeout = -time.Second }),
		"passing after -1":                 edit(func(c *health.Check) { c.PassingAfter = -1 }),
		"warning after -1":                 edit(func(c *health.Check) { c.WarningAfter = -1 }),
		"critical after -1":                edit(func(c *health.Check) { c.CriticalAfter = -1 }),
		"warning after 4":                  edit(func(c *health.Check) { c.WarningAfter = 4 }),
		"given twice":                      {good, good},
		"17 checks":                        many,
		"executable file not found":        {health.Command("no-such-command-here")},
		`"healthz": want a path`:           {health.HTTP("healthz")},
		`"": want a path`:                  {health.HTTP("")},
		`"//h/x": want a path`:             {health.HTTP("//h/x")},
		`"ftp://h/": want a path`:          {health.HTTP("ftp://h/")},
		`"http:///healthz": want`:          {health.HTTP("http:///healthz")},
		"invalid port":                     {health.HTTP("http://h:x/")},
		"address h: missing port":          {health.TCP("h")},
		"grpc: credentials.Bundle may not": {health.GRPC("", grpc.WithCredentialsBundle(insecure.NewBundle()))},
	} {
		m, err := health.Open(t.Context(), "h:1", checks...)
		if m != nil || !errors.Is(err, health.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, %v, want ErrInvalid with %q", m, err, text)
		}
	}
	if ran {
		t.Error("a check was run beside an invalid one")
	}
	if err := health.Validate(good, health.TCP(""), health.HTTP("/"), health.GRPC("")); err != nil {
		t.Error(err)
	}
}

// What is in a URL or an argument may be a secret, and etcd is not the place for it.
func TestNamesTellNoSecrets(t *testing.T) {
	for want, c := range map[string]health.Check{
		"http /healthz":      health.HTTP("/healthz?token=secret"),
		"https://h:8/health": health.HTTP("https://user:secret@h:8/health?token=secret#x"),
		"command check_disk": health.Command("/usr/lib/nagios/check_disk", "-p", "secret"),
		"tcp":                health.TCP(""),
		"tcp db:5432":        health.TCP("db:5432"),
		"grpc":               health.GRPC(""),
		"grpc search.v1":     health.GRPC("search.v1"),
	} {
		if c.Name != want {
			t.Errorf("got %q, want %q", c.Name, want)
		}
	}
}
