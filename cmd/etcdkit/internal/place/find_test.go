package place

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestFlagsBeforeContextsBeforeTheEnvironmentBeforeTheContextInUse(t *testing.T) {
	cli, _ := etcdtest.New(t)
	live, dead := strings.Join(cli.Endpoints(), ","), "127.0.0.1:1"
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	for name, endpoint := range map[string]string{"live": live, "dead": dead} {
		if err := store.Put(name, &Context{Endpoints: []string{endpoint}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		why         string
		flags       Flags
		context     string
		environment string
		inUse       string
		connects    bool
	}{
		{"flags before all", Flags{Endpoints: []string{live}}, "", dead, "dead", true},
		{"flags before a named context", Flags{Endpoints: []string{live}, Context: "dead"}, "", "", "", true},
		{"a named context before the environment", Flags{Context: "live"}, "", dead, "dead", true},
		{"also one that the environment names", Flags{}, "live", dead, "dead", true},
		{"the flag's context before the environment's", Flags{Context: "dead"}, "live", live, "live", false},
		{"the environment before the context in use", Flags{}, "", dead, "live", false},
		{"the context in use before a dev cluster", Flags{}, "", "", "live", true},
	} {
		t.Setenv("ETCDKIT_CONTEXT", tc.context)
		t.Setenv("ETCDKIT_ENDPOINTS", tc.environment)
		if err := store.Use(tc.inUse); err != nil {
			t.Fatal(err)
		}
		tc.flags.Timeout = 2 * time.Second
		p, err := Find(t.Context(), &tc.flags, strings.NewReader(""))
		if err == nil {
			p.Close()
		}
		if (err == nil) != tc.connects || err != nil && !errors.Is(err, client.ErrUnreachable) {
			t.Errorf("%s: got %v, want connects %t", tc.why, err, tc.connects)
		}
	}
	t.Setenv("ETCDKIT_CONTEXT", "")
	if _, err := Find(t.Context(), &Flags{Context: "none"}, strings.NewReader("")); !errors.Is(err, ErrNoContext) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("a context that does not exist: got %v", err)
	}
}

func TestAnErrorSaysWhereTheEndpointsAreFrom(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("ETCDCTL_ENDPOINTS", "")
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	dead := etcdtest.Addr(t)
	if err := store.Put("prod", &Context{Endpoints: []string{dead}}); err != nil {
		t.Fatal(err)
	}
	refused := "no member answered in time: " + dead + ": connection refused"
	for _, tc := range []struct {
		flags                       Flags
		environment, context, inUse string
		want                        string
	}{
		{Flags{Endpoints: []string{dead}}, "", "", "prod", refused + " (from --endpoints); is a cluster running? try: etcdkit dev"},
		{Flags{Endpoints: []string{dead}, Apart: true}, dead, "", "", refused + " (from --to); is a cluster running? try: etcdkit dev"},
		{Flags{}, dead, "", "prod", refused + "; ETCDKIT_ENDPOINTS says so: unset it if that cluster is gone (then a running etcdkit dev is found), or set it to one that runs"},
		{Flags{Context: "prod"}, "", "", "", refused + `; the endpoints are those of context "prod" (--context): see etcdkit ctx`},
		{Flags{}, "", "prod", "", refused + `; the endpoints are those of context "prod" (ETCDKIT_CONTEXT): see etcdkit ctx`},
		{Flags{}, "", "", "prod", refused + `; the endpoints are those of context "prod" (in use): see etcdkit ctx`}, // an empty variable is not set
	} {
		t.Setenv("ETCDKIT_CONTEXT", tc.context)
		t.Setenv("ETCDKIT_ENDPOINTS", tc.environment)
		if err := store.Use(tc.inUse); err != nil {
			t.Fatal(err)
		}
		tc.flags.Timeout = 100 * time.Millisecond
		if _, err := Find(t.Context(), &tc.flags, nil); err == nil || !errors.Is(err, client.ErrUnreachable) || strings.TrimPrefix(err.Error(), "client: ") != tc.want {
			t.Errorf("%+v: got %v, want %s", tc.flags, err, tc.want)
		}
	}
	for _, none := range [][]string{{}, {""}, {" ", ""}} {
		if _, err := Find(t.Context(), &Flags{Endpoints: none, Timeout: time.Second}, nil); !errors.Is(err, ErrNoEndpoints) {
			t.Errorf("endpoints %q: got %v, want ErrNoEndpoints", none, err)
		}
	}
}

func TestAPasswordComesFromTheFileOfTheFlagsOrTheContext(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("ETCDKIT_ENDPOINTS", "")
	t.Setenv("ETCDKIT_USER", "other")
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("of the file\r\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put("c", &Context{Endpoints: []string{"h:1"}, User: "amy", PasswordFile: file}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		why      string
		flags    Flags
		stdin    string
		password string
		user     string // of the environment that the client sees
	}{
		{"the context's", Flags{Context: "c"}, "", "of the file", "amy"},
		{"stdin before it", Flags{Context: "c", PasswordFile: "-"}, "typed\n", "typed", "amy"},
		{"not for another user", Flags{Context: "c", User: "bob"}, "", "", "amy"},
	} {
		opts, _, err := tc.flags.options(t.Context(), strings.NewReader(tc.stdin))
		if err != nil {
			t.Errorf("%s: %v", tc.why, err)
			continue
		}
		if user := opts.Getenv("ETCDKIT_USER"); opts.Password != tc.password || user != tc.user {
			t.Errorf("%s: got password %q, user %q, want %q, %q", tc.why, opts.Password, user, tc.password, tc.user)
		}
	}
	for why, f := range map[string]Flags{"no file": {PasswordFile: filepath.Join(dir, "none")}, "an empty line": {PasswordFile: "-"}} {
		if _, _, err := f.options(t.Context(), strings.NewReader("\n")); err == nil || !strings.Contains(err.Error(), "password file") {
			t.Errorf("%s: got %v", why, err)
		}
	}
}

func TestADevClusterHasAContextWhileItRuns(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	remove, err := WriteDevContext([]string{"127.0.0.1:12379", "127.0.0.1:12380"})
	if err != nil {
		t.Fatal(err)
	}
	if names, err := store.Names(); err != nil || strings.Join(names, " ") != "dev-12379" {
		t.Errorf("while it runs: got %q, %v", names, err)
	}
	endpoints := []string{"127.0.0.1:12379", "127.0.0.1:12380"}
	if name, inUse := DevContextBeside(endpoints); name != "" || inUse != "" {
		t.Errorf("no context is in use: got %q, %q", name, inUse)
	}
	if err := errors.Join(store.Put("prod", &Context{Endpoints: []string{"10.0.0.1:2379"}}), store.Use("prod")); err != nil {
		t.Fatal(err)
	}
	if name, inUse := DevContextBeside(endpoints); name != "dev-12379" || inUse != "prod" {
		t.Errorf("another one is in use: got %q, %q", name, inUse)
	}
	t.Setenv("ETCDKIT_ENDPOINTS", "10.0.0.1:2379")
	if name, _ := DevContextBeside(endpoints); name != "" {
		t.Errorf("the environment names a cluster, which counts before: got %q", name)
	}
	t.Setenv("ETCDKIT_ENDPOINTS", "")
	if err := store.Remove("prod"); err != nil {
		t.Fatal(err)
	}
	remove()
	if left, err := os.ReadDir(config); err != nil || len(left) != 0 {
		t.Errorf("afterwards: got %v, %v, want an empty directory", left, err)
	}
	if _, err := WriteDevContext([]string{"127.0.0.1:1"}); err != nil { // one that is killed
		t.Fatal(err)
	}
	remove, err = WriteDevContext([]string{"127.0.0.1:12379"})
	if names, _ := store.Names(); err != nil || strings.Join(names, " ") != "dev-12379" {
		t.Errorf("after one was killed: got %q, %v", names, err)
	}
	remove()
	if err := store.Put("dev", &Context{Endpoints: []string{"10.0.0.1:2379"}}); err != nil {
		t.Fatal(err)
	}
	remove, err = WriteDevContext([]string{"127.0.0.1:2379"})
	remove()
	if c, errGet := store.Get("dev"); err == nil || errGet != nil || c.Endpoints[0] != "10.0.0.1:2379" {
		t.Errorf("beside one that a person made: got %v, then %v, %v", err, c, errGet)
	}
}

func TestASecondClusterHasNoSettingOfTheEnvironment(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, v := range []string{"ETCDKIT_USER", "ETCDKIT_PASSWORD", "ETCDKIT_CACERT", "ETCDCTL_CERT", "ETCDCTL_PASSWORD"} {
		t.Setenv(v, "the first one's")
	}
	t.Setenv("ETCDKIT_CONTEXT", "the first one's")
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put("second", &Context{Endpoints: []string{"http://h:1"}, User: "amy", CACert: "/ca"}); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*Flags{"by endpoints": {Endpoints: []string{"h:1"}, Apart: true}, "by its context": {Context: "second", Apart: true}} {
		opts, _, err := f.options(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range []string{"USER", "PASSWORD", "CACERT", "CERT"} {
			for _, prefix := range []string{"ETCDKIT_", "ETCDCTL_"} {
				if got := opts.Getenv(prefix + v); got == "the first one's" {
					t.Errorf("%s: %s%s is that of the first cluster", name, prefix, v)
				}
			}
		}
		if f.Context != "" && (opts.Getenv("ETCDKIT_USER") != "amy" || opts.Getenv("ETCDKIT_CACERT") != "/ca" || opts.Endpoints[0] != "http://h:1") {
			t.Errorf("%s: it has not the context's own settings", name)
		}
	}
}

// Endpoints on the command line are another cluster than the environment's context: its user and its files do not go there.
func TestEndpointsOfFlagsDoNotGetWhatIsOfTheContextOfTheEnvironment(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("ETCDKIT_USER", "")
	store, err := OpenContexts()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put("prod", &Context{Endpoints: []string{"https://h:1"}, User: "amy", PasswordFile: "/nowhere", CACert: "/ca"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ETCDKIT_CONTEXT", "prod")
	f := &Flags{Endpoints: []string{"other:1"}}
	if opts, _, err := f.options(t.Context(), nil); err != nil || opts.Getenv != nil || opts.Password != "" {
		t.Errorf("got %+v, %v, want nothing of the context", opts, err)
	}
	f.Context, f.PasswordFile = "prod", "-"
	opts, _, err := f.options(t.Context(), strings.NewReader("typed"))
	if err != nil || opts.Getenv("ETCDKIT_USER") != "amy" || opts.Getenv("ETCDKIT_CACERT") != "/ca" {
		t.Errorf("named beside them: got %+v, %v, want what is of the context", opts, err)
	}
}

func TestAPasswordOnTheCommandLineIsRefused(t *testing.T) {
	for want, f := range map[string]*Flags{"--user amy:…": {User: "amy:secret"}, "--to-user amy:…": {User: "amy:secret", Apart: true}} {
		f.Endpoints = []string{"127.0.0.1:1"}
		_, err := Find(t.Context(), f, nil)
		if !errors.Is(err, ErrPasswordInUser) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s, and why", err, want)
		}
	}
}

func TestThePasswordOfStdinIsReadOnceAndNothingBehindIt(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	stdin := strings.NewReader("secret\r\nfor the command\n")
	f := Flags{Endpoints: []string{"h:1"}, User: "amy", PasswordFile: "-"}
	for range 2 {
		if opts, _, err := f.options(t.Context(), stdin); err != nil || opts.Password != "secret" {
			t.Fatalf("got %+v, %v, want the password", opts, err)
		}
	}
	if rest, err := io.ReadAll(stdin); err != nil || string(rest) != "for the command\n" {
		t.Errorf("left: %q, %v", rest, err)
	}
	f = Flags{Endpoints: []string{"h:1"}, User: "amy", PasswordFile: "-"}
	if _, _, err := f.options(t.Context(), strings.NewReader(strings.Repeat("x", longestPassword+1))); err == nil || !strings.Contains(err.Error(), "more than 4096 bytes") {
		t.Errorf("too long: %v", err)
	}
}
