package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestContexts(t *testing.T) {
	s := newShell(t)
	t.Setenv("ETCDKIT_ENDPOINTS", "")
	dir := t.TempDir()
	s.scrub(dir, "DIR")
	for _, file := range []string{"ca.crt", "healthcheck-client.crt", "healthcheck-client.key", "password"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ETCDCTL_ENDPOINTS", "10.2.0.1:2379")
	t.Setenv("ETCDCTL_USER", "amy:secret")
	s.golden("ctx",
		[]string{"ctx", "ls"},
		[]string{"ctx", "add", "prod", "--endpoints", "https://10.0.0.1:2379,https://10.0.0.2:2379"},
		[]string{"ctx", "add", "prod", "--endpoints", "10.0.0.3:2379"},
		[]string{"ctx", "add", "prod", "--endpoints", "10.0.0.3:2379", "--force", "--use"},
		[]string{"ctx", "add", "staging", "--endpoints", "10.1.0.1:2379", "--user", "ops", "--password-file", dir + "/password"},
		[]string{"ctx", "add", "bad", "--endpoints", "10.1.0.1:2379", "--user", "ops:secret"},
		[]string{"ctx", "add", "bad", "--endpoints", "10.1.0.1:2379", "--cacert", dir + "/none"},
		[]string{"ctx", "add", "../bad", "--endpoints", "10.1.0.1:2379"},
		[]string{"ctx", "add", "bad"},
		[]string{"ctx", "import", "k8s", "--kubeadm", dir},
		[]string{"ctx", "import", "old"},
		[]string{"ctx", "import", "bad", "--kubeadm", dir + "/none"},
		[]string{"ctx", "ls"},
		[]string{"ctx", "ls", "-o", "jsonl"},
		[]string{"ctx", "ls", "-o", "value"},
		[]string{"ctx", "ls", "-o", "template={{.name}}={{.endpoints}}"},
		[]string{"ctx", "ls", "-o", "yaml"},
		[]string{"ctx", "ls", "-o", "template={{.name"},
		[]string{"ctx", "use", "stagin"},
		[]string{"get", "k", "--context", "stagin"},
		[]string{"get", "k", "--endpoints", "127.0.0.1:1", "--user", "ops:secret"},
		[]string{"lock", "jobs", "--context", "stagin", "--", "true"},
		[]string{"ctx", "use", "staging"},
		[]string{"ctx", "rm", "staging"},
		[]string{"ctx", "use"},
		[]string{"ctx", "ls", "-o", "value"},
	)
}

func TestAContextThatCannotBeReadIsNotReplacedUnasked(t *testing.T) {
	newShell(t)
	file := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "etcdkit", "contexts", "prod.json")
	if _, stderr, code := run(t, "ctx", "add", "prod", "--endpoints", "10.0.0.1:2379"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	const newer = `{"endpoints":["10.0.0.1:2379"],"of_a_newer_etcdkit":true}`
	if err := os.WriteFile(file, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := run(t, "ctx", "add", "prod", "--endpoints", "10.0.0.3:2379")
	if text, err := os.ReadFile(file); err != nil || string(text) != newer || code != ExitUsage || !strings.Contains(stderr, "--force replaces it") {
		t.Errorf("%v, the file is %s, exit code %d, %s: want it as it was", err, text, code, stderr)
	}
}
