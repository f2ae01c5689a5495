//go:build !linux

package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// checkDialerLookup: dialerOf works here, if lsof is there.
func checkDialerLookup() error {
	if _, err := exec.LookPath("lsof"); err != nil {
		return fmt.Errorf("%w here without lsof, which tells members' connections apart", errors.ErrUnsupported)
	}
	return nil
}

// listenerOf names the process that listens on a loopback port: its pid and program, zeroes
// when lsof is not there or does not know.
func listenerOf(port int) (pid int, program string) {
	for _, f := range lsof("-sTCP:LISTEN", port) {
		switch {
		case strings.HasPrefix(f, "p"):
			pid, _ = strconv.Atoi(f[1:])
		case strings.HasPrefix(f, "c"):
			return pid, f[1:]
		}
	}
	return pid, ""
}

// dialerOf tells which of pids opened the connection whose accepted end is known: its port is
// local on the dialer's side. 0 means none of them.
func dialerOf(dialer, accepted netip.AddrPort, pids []int) int {
	name := fmt.Sprintf("n%s->%s", dialer, accepted)
	pid := 0
	for _, f := range lsof("-sTCP:ESTABLISHED", int(dialer.Port())) {
		switch {
		case strings.HasPrefix(f, "p"):
			pid, _ = strconv.Atoi(f[1:])
		case f == name && slices.Contains(pids, pid):
			return pid
		}
	}
	return 0
}

// lsof prints one field a line: p<pid>, c<program>, n<local->remote>.
func lsof(state string, port int) []string {
	out, err := exec.Command("lsof", "-nP", fmt.Sprintf("-iTCP:%d", port), state, "-Fpcn").Output()
	if err != nil {
		return nil
	}
	return strings.Fields(string(out))
}
