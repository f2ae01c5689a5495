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
func (o *Options) lookup(field, value string) setting {
	if value != "" {
		return setting{value, field, fromOptions}
	}
	variable := strings.ToUpper(field)
	if value := o.getenv("ETCDKIT_" + variable); value != "" {
		return setting{value, "ETCDKIT_" + variable, fromEtcdkit}
	}
	if value := o.getenv("ETCDCTL_" + variable); value != "" {
		return setting{value, "ETCDCTL_" + variable, fromEtcdctl}
	}
	return setting{"", field, fromNowhere}
}

func (o *Options) getenv(variable string) string {
	if o.Getenv != nil {
		return o.Getenv(variable)
	}
	return os.Getenv(variable)
}

// origin follows a value in a message. It is empty for values that the
// caller passed in.
func (s setting) origin() string {
	if s.rank == fromEtcdkit || s.rank == fromEtcdctl {
		return " (from " + s.name + ")"
	}
	return ""
}
