package registry

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"time"
)

// process identifies the process that registered an instance, so that another process on the same
// machine can prove that it is gone. In the value it stands outside the metadata, where other readers of
// the format, and older versions of this package, do not look.
//
// A host name proves nothing: containers on different machines can have the same one.
type process struct {
	// scope is the part of the machine within which pids and start times can be compared: a hash
	// of the boot, the pid namespace and the time namespace. A pid namespace's number is used
	// again once the namespace is gone, but its processes are gone with it.
	scope string
	start uint64 // in clock ticks, as /proc counts them
	run   string // random: a program that replaced itself (exec) keeps its pid and start
	since int64  // when it registered the instance, in Unix seconds; for people
}

// String is the form in etcd: it costs every consumer 50 bytes an instance, where JSON would cost 110.
func (p *process) String() string {
	return p.scope + "." + strconv.FormatUint(p.start, 36) + "." + p.run + "." + strconv.FormatInt(p.since, 36)
}

// parseProcess reads what String wrote. nil: it is something else.
func parseProcess(text string) *process {
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] == "" || parts[2] == "" {
		return nil
	}
	start, err := strconv.ParseUint(parts[1], 36, 64)
	if err != nil || start == 0 {
		return nil
	}
	since, err := strconv.ParseInt(parts[3], 36, 64)
	if err != nil {
		return nil
	}
	return &process{parts[0], start, parts[2], since}
}

// recordedProcess takes the process from a value. nil: the value does not say.
func recordedProcess(val string) *process {
	var v struct{ Process string }
	if json.Unmarshal([]byte(val), &v) != nil {
		return nil
	}
	return parseProcess(v.Process)
}

// thisProcessNow is this process, which registers an instance now. nil: the system does not say.
func thisProcessNow() *process {
	self := thisProcess()
	if self == nil {
		return nil
	}
	p := *self
	p.since = time.Now().Unix()
	return &p
}

// ended reports whether a process provably does not run any more, and if not, why that is not proven.
func (p *process) ended(pid int) (ended bool, why string) {
	self := thisProcess()
	switch {
	case self == nil:
		return false, "this system does not say which processes run"
	case p == nil || pid <= 0:
		return false, "its record does not say which process it is"
	case p.scope != self.scope:
		return false, "it is on another machine, in another container, or from before a reboot"
	case pid == os.Getpid():
		if p.start != self.start || p.run != self.run {
			return true, ""
		}
		return false, "it is this process"
	case !exists(pid):
		return true, ""
	}
	start, dead := startOf(pid)
	switch {
	case dead, start != 0 && start != p.start:
		return true, ""
	case start == 0:
		return false, "whether it runs cannot be read here"
	}
	return false, "it runs on this machine"
}
