package client

import (
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/internal/devdir"
)

const (
	defaultEndpoint = "localhost:" + devdir.DefaultPort
	defaultTimeout  = 5 * time.Second
)

// config is Options with the environment and the defaults filled in, and
// checked as far as that goes without reading a file.
type config struct {
	endpoints      []endpoint
	endpointsFrom  setting
	secure         bool // TLS at all endpoints; they are never mixed
	ca, cert, key  setting
	user, password setting // both or neither
	timeout        time.Duration
	dialOptions    []grpc.DialOption
}

func resolve(opts *Options) (*config, error) {
	if opts == nil {
		opts = &Options{}
	}
	c := &config{
		ca:          opts.lookup("CACert", opts.CACert),
		cert:        opts.lookup("Cert", opts.Cert),
		key:         opts.lookup("Key", opts.Key),
		timeout:     opts.Timeout,
		dialOptions: opts.DialOptions,
	}
	if c.timeout < 0 {
		return nil, configError("Timeout is negative: %v", c.timeout)
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if err := c.resolveEndpoints(opts); err != nil {
		return nil, err
	}
	if err := c.resolveUser(opts); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *config) resolveEndpoints(opts *Options) error {
	given := tidy(opts.Endpoints)
	from := opts.lookup("Endpoints", strings.Join(given, ","))
	if from.rank != fromOptions {
		given = tidy(strings.Split(from.value, ","))
	}
	if len(given) == 0 {
		given, from.rank = []string{defaultEndpoint}, fromNowhere
	}
	files := c.ca.value != "" || c.cert.value != "" || c.key.value != ""
	seen := make(map[string]bool)
	for _, text := range given {
		e, err := parseEndpoint(text)
		if err != nil {
			return configError("endpoint %q%s: %w", redact(text), from.origin(), err)
		}
		secure := e.secure(files)
		if len(c.endpoints) > 0 && secure != c.secure {
			return configError("endpoints %q and %q%s: one uses TLS and the other does not; use http:// or https:// for all",
				c.endpoints[0].text, e.text, from.origin())
		}
		c.secure = secure
		if !seen[e.key()] {
			seen[e.key()] = true
			c.endpoints = append(c.endpoints, e)
		}
	}
	c.endpointsFrom = from
	return c.rejectUnusedTLSFiles(from)
}

// rejectUnusedTLSFiles refuses http:// endpoints together with TLS files, which clientv3
// would silently not use. Only endpoints from an earlier place than
// the files overrule them: --endpoints http://localhost:2379 in a shell that is
// set up for another cluster.
func (c *config) rejectUnusedTLSFiles(endpoints setting) error {
	if c.secure {
		return nil
	}
	for _, file := range []setting{c.ca, c.cert, c.key} {
		if file.value != "" && file.rank <= endpoints.rank {
			return configError("endpoint %q%s does not use TLS, but %s is set: use https:// or leave the file out",
				c.endpoints[0].text, endpoints.origin(), file.name)
		}
	}
	return nil
}

// texts returns the endpoints as clientv3 takes them.
func (c *config) texts() []string {
	texts := make([]string, len(c.endpoints))
	for i, e := range c.endpoints {
		texts[i] = e.text
	}
	return texts
}

// tidy trims the strings and drops the empty ones.
func tidy(list []string) []string {
	var kept []string
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}
