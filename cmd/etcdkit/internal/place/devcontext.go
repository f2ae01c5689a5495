package place

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/internal/devdir"
)

// WriteDevContext writes the context of a dev cluster that runs: "dev", or "dev-PORT" on other ports than the
// usual ones. The returned function removes it. A context of this name that a person made is left alone.
func WriteDevContext(endpoints []string) (remove func(), err error) {
	remove = func() {}
	store, err := OpenContexts()
	if err != nil {
		return remove, err
	}
	name := devContextName(endpoints)
	store.removeStaleDev()
	if old, err := store.Get(name); err == nil && !old.Dev {
		return remove, fmt.Errorf("there is one called %s", name)
	}
	if err := store.Put(name, &Context{Endpoints: endpoints, Dev: true}); err != nil {
		return remove, err
	}
	return func() {
		if c, err := store.Get(name); err == nil && c.Dev && slices.Equal(c.Endpoints, endpoints) {
			_ = store.Remove(name) // one that is left over is removed by the next dev
			store.removeEmpty()
		}
	}, nil
}

func devContextName(endpoints []string) string {
	if _, port, err := net.SplitHostPort(endpoints[0]); err == nil && port != devdir.DefaultPort {
		return devName + "-" + port
	}
	return devName
}

// DevContextBeside is the context of a dev cluster that runs, if another one is in use: then commands do not find the
// cluster by themselves. It is "" where using it would change nothing, as with variables of the environment.
func DevContextBeside(endpoints []string) (name, inUse string) {
	store, err := OpenContexts()
	if err != nil || Variable() != "" || os.Getenv("ETCDKIT_CONTEXT") != "" {
		return "", ""
	}
	name = devContextName(endpoints)
	c, err := store.Get(name)
	if err != nil || !c.Dev {
		return "", ""
	}
	if inUse, err = store.Current(); err != nil || inUse == "" || inUse == name {
		return "", ""
	}
	return name, inUse
}

// devName is the name of a dev cluster's context, on the usual ports.
const devName = "dev"

// IsDevContext tells whether a context of this name can be that of a dev cluster.
func IsDevContext(name string) bool {
	port, ok := strings.CutPrefix(name, devName+"-")
	_, err := strconv.ParseUint(port, 10, 16)
	return name == devName || ok && err == nil
}

// DevRuns tells whether it is the context of a dev cluster, and one of the members accepts connections.
func (c *Context) DevRuns() bool { return c.Dev && slices.ContainsFunc(c.Endpoints, accepts) }

// removeStaleDev removes the contexts of dev clusters that were killed.
func (s *Contexts) removeStaleDev() {
	names, _ := s.Names() // without them there is nothing to remove
	for _, name := range names {
		if c, err := s.Get(name); err == nil && c.Dev && !c.DevRuns() {
			_ = s.Remove(name)
		}
	}
}

// acceptTimeout is how long an address of this machine may take to accept a connection.
const acceptTimeout = 500 * time.Millisecond

func accepts(endpoint string) bool {
	conn, err := net.DialTimeout("tcp", endpoint, acceptTimeout)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
