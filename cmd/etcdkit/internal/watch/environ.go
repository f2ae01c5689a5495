package watch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mostOfVariable is the longest value of a variable. Linux refuses a command with one of 128 KiB.
const mostOfVariable = 64 << 10

// variables are those of a batch.
func variables() []string {
	return []string{"ETCD_WATCH_REVISION", "ETCD_WATCH_EVENT_TYPE", "ETCD_WATCH_KEY", "ETCD_WATCH_VALUE", "ETCDKIT_WATCH_CHANGES", "ETCDKIT_WATCH_REASON"}
}

// Environ is an environment with the variables of a batch, as etcdctl has them but without quotes. Of several changes
// they are the last one's. What cannot be a variable is not there, and named in leftOut with the reason.
func Environ(environ []string, b *Batch) (env, leftOut []string) {
	env = slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(variables(), name)
	})
	if b == nil {
		return env, nil
	}
	set := func(name, value string) {
		switch {
		case strings.ContainsRune(value, 0):
			leftOut = append(leftOut, name+" is not set: it would contain a NUL byte")
		case len(value) > mostOfVariable:
			leftOut = append(leftOut, fmt.Sprintf("%s is not set: it would have %d bytes, and %d is the most", name, len(value), mostOfVariable))
		default:
			env = append(env, name+"="+value)
		}
	}
	set("ETCD_WATCH_REVISION", strconv.FormatInt(b.Revision, 10))
	set("ETCDKIT_WATCH_CHANGES", strconv.Itoa(len(b.Changes)))
	set("ETCDKIT_WATCH_REASON", string(b.Reason))
	if len(b.Changes) == 0 {
		return env, leftOut
	}
	last := b.Changes[len(b.Changes)-1]
	set("ETCD_WATCH_KEY", last.Key)
	if last.New == nil {
		set("ETCD_WATCH_EVENT_TYPE", "DELETE")
		set("ETCD_WATCH_VALUE", "")
		return env, leftOut
	}
	set("ETCD_WATCH_EVENT_TYPE", "PUT")
	set("ETCD_WATCH_VALUE", last.New.Value)
	return env, leftOut
}
