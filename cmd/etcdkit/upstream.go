package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// runUpstream becomes upstream's etcd or etcdctl and does not return, when the program was called
// "etcdkit etcd …" or "etcdkit ctl …", or through a link named etcd or etcdctl. Both are unchanged; etcdctl
// gets its cluster from findForEtcdctl. It comes before everything else because both parse os.Args themselves.
func runUpstream() {
	program, args := upstream(os.Args)
	switch program {
	case "etcd":
		os.Args = append([]string{"etcd"}, args...)
		runEtcd()
	case "etcdctl":
		if err := findForEtcdctl(args); err != nil {
			fmt.Fprintln(os.Stderr, "etcdkit:", err)
			os.Exit(cli.ExitFailed)
		}
		for _, variable := range shadowed(args) {
			_ = os.Unsetenv(variable) // a name like these cannot fail
		}
		os.Args = append([]string{"etcdctl"}, args...)
		runEtcdctl()
	default:
		cobra.EnablePrefixMatching = false // etcdctl's package turns it on for all commands
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

// shadowed are the ETCDCTL_ variables that flags on etcdctl's command line stand before. Upstream refuses to
// run when both are there, so that a shell with ETCDCTL_ENDPOINTS exported could not name others.
func shadowed(args []string) []string {
	var variables []string
	user, password := false, false
	for i, arg := range args {
		if arg == "--" {
			break
		}
		long, isLong := strings.CutPrefix(arg, "--")
		switch name, value, joined := strings.Cut(long, "="); {
		case isLong:
			variables = append(variables, "ETCDCTL_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
			if !joined && i+1 < len(args) {
				value = args[i+1]
			}
			user = user || name == "user" && strings.Contains(value, ":")
			password = password || name == "password"
		case strings.HasPrefix(arg, "-w"):
			variables = append(variables, "ETCDCTL_WRITE_OUT")
		case strings.HasPrefix(arg, "-d"):
			variables = append(variables, "ETCDCTL_DISCOVERY_SRV")
		}
	}
	if user && !password {
		variables = append(variables, "ETCDCTL_PASSWORD") // of another user
	}
	return variables
}

// needsCluster tells whether etcdctl is asked for more than for help, its version or a completion script.
func needsCluster(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
		return false
	}
	command := command(args)
	return command != "" && !slices.Contains([]string{"help", "version", "completion", "__complete"}, command)
}

// switches are etcdctl's global flags that take no value from the next argument.
var switches = []string{"--debug", "--hex", "--insecure-discovery", "--insecure-skip-tls-verify", "--insecure-transport"}

// command is the command of etcdctl in its arguments, or "": the first word that is neither a flag nor a flag's value.
func command(args []string) string {
	for i := 0; i < len(args); i++ {
		short := len(args[i]) == len("-w") && args[i] != "--"
		switch {
		case !strings.HasPrefix(args[i], "-"):
			return args[i]
		case strings.Contains(args[i], "="), slices.Contains(switches, args[i]):
		case strings.HasPrefix(args[i], "--"), short:
			i++ // its value
		}
	}
	return ""
}

// findForEtcdctl puts into the environment which cluster etcdctl is to use, in the order of the other commands, which
// 'etcdkit ctx --help' has: that of its flags, of ETCDKIT_CONTEXT, of variables, of the context in use, or the dev
// cluster that runs. Otherwise it would know localhost:2379 only, and wait for it when that is the member that was
// stopped.
func findForEtcdctl(args []string) error {
	if !needsCluster(args) {
		return nil
	}
	flags := shadowed(args)
	if slices.Contains(flags, "ETCDCTL_ENDPOINTS") || slices.Contains(flags, "ETCDCTL_DISCOVERY_SRV") {
		return nil
	}
	byName := os.Getenv("ETCDCTL_ENDPOINTS") != "" || os.Getenv("ETCDCTL_DISCOVERY_SRV") != ""
	if !byName || os.Getenv("ETCDKIT_CONTEXT") != "" {
		given := new(place.Flags)
		if slices.Contains(flags, "ETCDCTL_USER") {
			given.User = "of a flag"
		}
		variables, err := place.EtcdctlEnviron(given)
		if err != nil || variables != nil {
			place.SetEnviron(variables)
			return err
		}
	}
	if byName {
		return nil
	}
	endpoints := os.Getenv("ETCDKIT_ENDPOINTS")
	if endpoints == "" {
		found, err := devctl.FindEndpoints()
		if err != nil || len(found) == 0 {
			return err
		}
		return os.Setenv("ETCDCTL_ENDPOINTS", strings.Join(found, ","))
	}
	for _, v := range place.Environ(os.Environ(), strings.Split(endpoints, ",")) {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ETCDCTL_") {
			_ = os.Setenv(name, value) // it came from the environment
		}
	}
	return nil
}
