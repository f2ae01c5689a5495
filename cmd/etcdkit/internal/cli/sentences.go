package cli

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// logger says what the libraries log. What the command says by itself is left out: the loss of a lock or a term.
func (a *app) logger() *slog.Logger { return a.out.TalkLogger(sentences()) }

// sentences are those of the messages of packages lock, election and registry.
func sentences() map[string]func(attr func(name string) slog.Value) string {
	silent := func(func(string) slog.Value) string { return "" }
	return map[string]func(attr func(name string) slog.Value) string{
		"lock lost":        silent,
		"term lost":        silent,
		"waiting for lock": waitingForLock,
		"waiting for lock, and etcd does not answer": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("waiting %v for lock %q; etcd does not say which process has it: %v", attr("waited"), attr("name"), attr("error"))
		},
		"waiting for lock, and etcd refuses to say for which holder": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("waiting %v for lock %q; etcd refuses to say which process has it: %v", attr("waited"), attr("name"), attr("error"))
		},
		"lock acquired after a wait": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("lock %q acquired after %v", attr("name"), attr("waited"))
		},
		"waiting to lead": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("waiting %v to lead %q: %v leads; %s", attr("waited"), attr("name"), attr("leader"), inQueue(attr("entries")))
		},
		"waiting to lead, and etcd does not answer": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("waiting %v to lead %q; etcd does not say which candidate leads: %v", attr("waited"), attr("name"), attr("error"))
		},
		"waiting to lead, and etcd refuses to say for which holder": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("waiting %v to lead %q; etcd refuses to say which candidate leads: %v", attr("waited"), attr("name"), attr("error"))
		},
		"elected": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("elected in %q (token %v)", attr("name"), attr("token"))
		},
		"status changed by checks": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%v is %v now, after %v%s", attr("key"), attr("to"), attr("from"), reasonText(attr("because")))
		},
		"an operator has set the status": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%v: %v has set the status %v%s", attr("key"), attr("by"), attr("status"), reasonText(attr("reason")))
		},
		"an operator has taken back the status": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%v: an operator has taken the status back; it is %v now", attr("key"), attr("status"))
		},
		"registration lost": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%s lost: %v; registering again", registrations(attr), attr("because"))
		},
		"registered again": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%s registered again after %v", registrations(attr), attr("after"))
		},
		"taking over the key of a process that is gone": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("taking over %s from %v, which is gone", registrations(attr), attr("owner"))
		},
		"cannot write, trying again": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%v cannot be written: %v; trying again", attr("key"), attr("error"))
		},
		"waiting for the lease of the key's owner to end": func(attr func(string) slog.Value) string {
			return fmt.Sprintf("%v belongs to %v; waiting up to %v for its lease %v to end%s", attr("key"), attr("owner"), attr("left"), attr("lease"), reasonText(attr("because")))
		},
	}
}

func waitingForLock(attr func(string) slog.Value) string {
	holder := attr("holder").String()
	if pid := attr("pid"); pid.Kind() == slog.KindInt64 {
		holder = fmt.Sprintf("%s (pid %v on host %v) since %s", holder, pid, attr("host"), clock(attr("since").String()))
	}
	return fmt.Sprintf("waiting %v for lock %q: held by %s; %s", attr("waited"), attr("name"), holder, inQueue(attr("entries")))
}

// inQueue says how many entries a queue has.
func inQueue(entries slog.Value) string {
	return fmt.Sprintf("%v in the queue, with the holder", entries)
}

// registrations are those of a record: the first one, and how many more.
func registrations(attr func(string) slog.Value) string {
	if more := attr("more"); more.Kind() == slog.KindInt64 {
		return fmt.Sprintf("%v and %v more", attr("key"), more)
	}
	return attr("key").String()
}

// reasonText is a reason behind a colon, if there is one.
func reasonText(reason slog.Value) string {
	if text := strings.TrimSpace(reason.String()); text != "" {
		return ": " + text
	}
	return ""
}

// clock is a time of RFC 3339, without its date if that is today's.
func clock(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasPrefix(text, time.Now().UTC().Format(time.DateOnly)) {
		return text
	}
	return t.UTC().Format("15:04:05Z")
}
