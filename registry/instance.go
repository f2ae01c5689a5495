package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// ErrInvalid: an instance or a name cannot be registered. Nothing was sent.
var ErrInvalid = errors.New("registry: invalid")

// Instance is one running copy of a service: its address, and what consumers may know of it.
type Instance struct {
	// Service and ID name the instance; together they are its key. Neither may be empty, have
	// more than 200 bytes, or contain a slash, a space or a control character.
	Service, ID string
	// Addr is host:port, as consumers dial it.
	Addr string
	// Version of the program, for people and for routing.
	Version string
	// Weight is the share of requests relative to other instances; 0 means 1. To take no requests,
	// set Status.
	Weight int
	Zone   string
	Tags   []string
	Status Status
	// Reason says why Status is what it is.
	Reason string
	// Checks are what the instance's health checks found, each as of the last change of a status.
	// With Options.Checks the Registrar sets them, and the worst of them decides Status and Reason,
	// if it is worse than the Status that was asked for.
	Checks []health.Result
	// Metadata is whatever else consumers need, a few kilobytes at most.
	Metadata map[string]string

	// Raw, if set, is the whole value in etcd, for consumers that expect a format of their own. Of the
	// fields above only Service and ID are used then. For a reader it is a value in a format that this
	// package does not know, such as "value-2379".
	Raw string

	// Host and PID of the process that registered it; set by Register.
	Host string
	PID  int

	process *process // the same for programs; only where Register has set it
}

// clone shares nothing with i.
func (i Instance) clone() Instance {
	i.Tags, i.Metadata, i.Checks = slices.Clone(i.Tags), maps.Clone(i.Metadata), slices.Clone(i.Checks)
	return i
}

func (i *Instance) drain(reason string) { i.Status, i.Reason = Draining, reason }

// Status says whether an instance takes requests.
type Status string

const (
	Passing     Status = "passing" // also the meaning of ""
	Warning     Status = "warning" // takes requests, but a person should look at it
	Critical    Status = "critical"
	Draining    Status = "draining"    // finishes the requests that it has, and is about to leave
	Maintenance Status = "maintenance" // out of service for a while, as planned
)

// Serving reports whether an instance in this status takes new requests.
func (s Status) Serving() bool { return s == "" || s == Passing || s == Warning }

func (s Status) known() bool {
	switch s {
	case Passing, Warning, Critical, Draining, Maintenance:
		return true
	}
	return false
}

const (
	maxName = 200
	// maxValue bounds a value in etcd: a service's list is held by each of its consumers, and
	// the server takes 1.5 MiB a request.
	maxValue = 64 << 10
)

// Validate checks what Register would write. Its errors are ErrInvalid.
func (i *Instance) Validate() error {
	if err := validName("service", i.Service); err != nil {
		return err
	}
	if err := validName("id", i.ID); err != nil {
		return err
	}
	if i.Raw != "" {
		return validText("raw value", i.Raw)
	}
	if err := validAddr(i.Addr); err != nil {
		return err
	}
	if i.Weight < 0 || i.Weight > math.MaxInt32 {
		return fmt.Errorf("%w: weight %d: want 0 to %d", ErrInvalid, i.Weight, math.MaxInt32)
	}
	if i.Status != "" && !i.Status.known() {
		return fmt.Errorf("%w: status %s: want passing, warning, critical, draining or maintenance", ErrInvalid, quote.Text(string(i.Status)))
	}
	if err := validChecks(i.Checks); err != nil {
		return err
	}
	return i.validTexts()
}

// validChecks checks results, wherever they come from.
func validChecks(results []health.Result) error {
	for _, c := range results {
		if c.Status != health.Passing && c.Status != health.Warning && c.Status != health.Critical {
			return fmt.Errorf("%w: check %s: status %s: want passing, warning or critical", ErrInvalid, quote.Cut(c.Name, 40), quote.Text(string(c.Status)))
		}
		if err := validText("name of a check", c.Name); err != nil {
			return err
		}
		if err := validText("output of check "+quote.Word(c.Name), c.Output); err != nil {
			return err
		}
		if year := c.At.UTC().Year(); year < 1 || year > 9999 {
			return fmt.Errorf("%w: check %s: year %d: want 1 to 9999", ErrInvalid, quote.Text(c.Name), year)
		}
	}
	return nil
}

func (i *Instance) validTexts() error {
	texts := []struct{ what, text string }{{"version", i.Version}, {"zone", i.Zone}, {"reason", i.Reason}}
	for _, tag := range i.Tags {
		texts = append(texts, struct{ what, text string }{"tag", tag})
	}
	for k, v := range i.Metadata {
		texts = append(texts, struct{ what, text string }{"metadata key", k}, struct{ what, text string }{"metadata " + quote.Word(k), v})
	}
	for _, t := range texts {
		if err := validText(t.what, t.text); err != nil {
			return err
		}
	}
	return nil
}

// validName checks a segment of a key.
func validName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	case len(name) > maxName:
		return fmt.Errorf("%w: %s %s has %d bytes: want at most %d", ErrInvalid, what, quote.Cut(name, 20), len(name), maxName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %s %q is a path, not a name", ErrInvalid, what, name)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s %s is not UTF-8", ErrInvalid, what, quote.Text(name))
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) }); i >= 0 {
		return fmt.Errorf("%w: %s %s: want no slash, space or control character", ErrInvalid, what, quote.Text(name))
	}
	return nil
}

// validText checks text that ends up in a value.
func validText(what, text string) error {
	switch {
	case len(text) > maxValue:
		return fmt.Errorf("%w: %s has %d bytes: want at most %d in all", ErrInvalid, what, len(text), maxValue)
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: %s %s is not UTF-8", ErrInvalid, what, quote.Cut(text, 40))
	case strings.ContainsRune(text, 0):
		return fmt.Errorf("%w: %s %s contains a NUL byte", ErrInvalid, what, quote.Cut(text, 40))
	}
	return nil
}

// validAddr checks host:port.
func validAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w: address %s: want host:port", ErrInvalid, quote.Text(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w: address %s: port %s: want 1 to 65535", ErrInvalid, quote.Text(addr), quote.Text(port))
	}
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return r == '/' || r == '@' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
	}) {
		return fmt.Errorf("%w: address %s: host %s cannot be dialled", ErrInvalid, quote.Text(addr), quote.Text(host))
	}
	return nil
}

// validPrefix checks where services are.
func validPrefix(prefix string) error {
	if prefix == "/" {
		return nil
	}
	body, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return fmt.Errorf("%w: prefix %q: want it to end in a slash", ErrInvalid, prefix)
	}
	for _, segment := range strings.Split(strings.TrimPrefix(body, "/"), "/") {
		if err := validName("prefix segment", segment); err != nil {
			return errtext.Errorf("registry: prefix %q: %w", prefix, err)
		}
	}
	return nil
}

// ServicePrefix is the prefix of a service's keys below prefix ("" is DefaultPrefix). Its
// errors are ErrInvalid.
func ServicePrefix(prefix, service string) (string, error) {
	prefix = cmp.Or(prefix, DefaultPrefix)
	if err := validPrefix(prefix); err != nil {
		return "", err
	}
	if err := validName("service", service); err != nil {
		return "", err
	}
	return keyOf(prefix, service, ""), nil
}
