package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestEtcdctlUsesTheContextInUse(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, nil))
	withPasswords(t, cli)
	dir := shortDir(t)
	password := filepath.Join(dir, "password")
	writeFile(t, password, "secret\n")
	base := etcdkit(t, dir).Env // with one directory of contexts for all
	endpoints := strings.Join(cli.Endpoints(), ",")
	do := func(want string, wantCode int, env []string, args ...string) {
		t.Helper()
		cmd := etcdkit(t, dir, args...)
		cmd.Env = append(append([]string(nil), base...), env...)
		if stdout, stderr, code := output(t, cmd); code != wantCode || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%v %v: got %q, exit code %d, want %q and %d", env, args, stdout+stderr, code, want, wantCode)
		}
	}
	do("context prod", 0, nil, "ctx", "add", "prod", "--endpoints", endpoints, "--user", "root", "--password-file", password)
	do("context dead", 0, nil, "ctx", "add", "dead", "--endpoints", "127.0.0.1:1", "--use")
	const dead = "127.0.0.1:1"
	get := []string{"ctl", "--command-timeout=2s", "get", "jobs/1", "--print-value-only"}
	do(dead, 1, nil, get...)
	do("nightly", 0, []string{"ETCDKIT_CONTEXT=prod"}, get...)
	do("", 0, nil, "ctx", "use", "prod")
	do("nightly", 0, nil, get...)
	do("nightly", 0, nil, append(get, "--user=root:secret")...)
	do(dead, 1, []string{"ETCDKIT_ENDPOINTS=" + dead}, get...)
	do(dead, 1, []string{"ETCDCTL_ENDPOINTS=" + dead}, get...)
	do("nightly", 0, []string{"ETCDCTL_ENDPOINTS=" + dead, "ETCDKIT_CONTEXT=prod"}, get...)
	do(dead, 1, []string{"ETCDKIT_CONTEXT=prod"}, append(get, "--endpoints="+dead)...)
	do(`context "none" (ETCDKIT_CONTEXT)`, 1, []string{"ETCDKIT_CONTEXT=none"}, get...)
}
