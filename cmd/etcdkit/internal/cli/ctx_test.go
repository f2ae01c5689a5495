package cli

import (
	"os"
	"path/filepath"
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
