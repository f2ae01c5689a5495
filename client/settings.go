package client

import (
	"os"
	"strings"
)

// setting is a value and where it was found.
type setting struct {
	value string
	name  string // a field of Options or a variable
	rank  rank
}

// rank orders the places that settings come from; the first one counts.
type rank int

const (
	fromOptions rank = iota
	fromEtcdkit
	fromEtcdctl
	fromNowhere
)

// lookup returns the value of a field of Options, if that is not empty, or
// else what the environment has for it.
func lookup(field, value string) setting {
	if value != "" {
		return setting{value, field, fromOptions}
	}
	variable := strings.ToUpper(field)
	if value := os.Getenv("ETCDKIT_" + variable); value != "" {
		return setting{value, "ETCDKIT_" + variable, fromEtcdkit}
	}
	if value := os.Getenv("ETCDCTL_" + variable); value != "" {
		return setting{value, "ETCDCTL_" + variable, fromEtcdctl}
	}
	return setting{"", field, fromNowhere}
}

// origin goes behind a value in a message. It is empty for values that the
// caller passed in and has before their eyes.
func (s setting) origin() string {
	if s.rank == fromEtcdkit || s.rank == fromEtcdctl {
		return " (from " + s.name + ")"
	}
	return ""
}
