package place

import (
	"errors"
	"strings"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// source is where endpoints are from. The zero value: nothing names them, so they are those of a dev cluster, or the default.
type source struct{ flag, variable, context string }

// name says in an error of package client where the endpoints are from. It knows of variables alone, and names them.
func (s source) name(err error) error {
	text, advice := errtext.Text(err), ""
	var end interface{ Advice() string }
	if errors.As(err, &end) {
		advice = "; " + end.Advice()
	}
	text = strings.TrimSuffix(text, advice)
	switch unreachable := errors.Is(err, client.ErrUnreachable); {
	case s.context != "" && unreachable:
		return errtext.New(text+"; the endpoints are those of "+s.context+": see etcdkit ctx", err)
	case s.context != "":
		return errtext.New(s.context+": "+text, err)
	case s.flag != "" && unreachable:
		return errtext.New(text+" (from "+s.flag+")"+advice, err)
	case s.variable != "" && unreachable && advice == "":
		return errtext.New(text+" (from "+s.variable+")", err)
	}
	return err
}
