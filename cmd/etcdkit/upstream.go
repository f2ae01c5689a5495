package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// runUpstream becomes upstream's etcd or etcdctl, unchanged, and does not return, when the
// program was called "etcdkit etcd …" or "etcdkit ctl …", or through a link named etcd or
// etcdctl. It comes before everything else because both parse os.Args themselves.
func runUpstream() {
	program, args := upstream(os.Args)
	switch program {
	case "etcd":
		os.Args = append([]string{"etcd"}, args...)
		etcdmain.Main(os.Args)
	case "etcdctl":
		os.Args = append([]string{"etcdctl"}, args...)
		cobra.EnablePrefixMatching = true
		ctlv3.MustStart()
	default:
		cobra.EnablePrefixMatching = false // etcdctl's package turns it on for everyone
		return
	}
	os.Exit(0)
}

// upstream tells which upstream program a command line asks for, or "", and its arguments.
func upstream(argv []string) (program string, args []string) {
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if name == "etcd" || name == "etcdctl" {
		return name, argv[1:]
	}
	if len(argv) > 1 {
		switch argv[1] {
		case "etcd":
			return "etcd", argv[2:]
		case "ctl":
			return "etcdctl", argv[2:]
		}
	}
	return "", nil
}

// upstreamCommands are in the help only: runUpstream has run them already.
func upstreamCommands() []*cobra.Command {
	return []*cobra.Command{
		{Use: "etcd [flags]", Short: "upstream's etcd server, unchanged", GroupID: groupUpstream, Run: func(*cobra.Command, []string) {}},
		{Use: "ctl COMMAND [flags]", Short: "upstream's etcdctl, unchanged", GroupID: groupUpstream, Run: func(*cobra.Command, []string) {}},
	}
}
