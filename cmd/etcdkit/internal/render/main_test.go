package render_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/render"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

func put(t *testing.T, cli *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := cli.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// file writes a file and returns its name.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		return "none"
	}
	return string(b)
}

// template parses a template with an output of its own.
func template(t *testing.T, text string) *render.Template {
	t.Helper()
	parsed, err := render.Parse(file(t, text) + ":" + filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// jobOf makes a job of templates; services are below prefix + "services/".
func jobOf(t *testing.T, cli *clientv3.Client, prefix string, templates ...*render.Template) *render.Job {
	t.Helper()
	return &render.Job{
		Client: cli, Templates: templates, Services: prefix + "services/", CommandTimeout: generous,
		Stdout: os.Stderr, Stderr: os.Stderr, Say: func(format string, args ...any) { t.Logf(format, args...) },
	}
}

// rendered is what one template makes.
func rendered(t *testing.T, cli *clientv3.Client, prefix, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	results, err := jobOf(t, cli, prefix, template(t, text)).DryRun(ctx)
	if err != nil {
		return "", err
	}
	return string(results[0].Content), nil
}

// instance writes one as package registry does.
func instance(t *testing.T, cli *clientv3.Client, prefix string, i registry.Instance) {
	t.Helper()
	value, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, cli, prefix+"services/"+i.Service+"/"+i.ID, value)
}
