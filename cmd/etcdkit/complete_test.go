//go:build linux

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lock"
)

// bashCompletion is a library of completions for bash, which ours does without.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// completer is a directory with the program under its name, and an environment in which shells find it.
type completer struct {
	t   *testing.T
	env []string
	dir string // of the shell
}

func newCompleter(t *testing.T, env ...string) *completer {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(bin, "etcdkit")); err != nil {
		t.Fatal(err)
	}
	env = append(etcdkit(t, shortDir(t)).Env, env...)
	return &completer{t, append(env, "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8"), t.TempDir()}
}

// fish are the words that fish offers for a line that ends where the cursor is.
func (c *completer) fish(line string) (words []string) {
	c.t.Helper()
	cmd := exec.Command("fish", "--no-config", "-c", `etcdkit completion fish | source; complete -C $argv[1]`, line)
	cmd.Env, cmd.Dir = c.env, c.dir
	output, err := cmd.Output()
	if err != nil {
		c.t.Errorf("fish: %q: %v", line, err)
	}
	for word := range strings.Lines(string(output)) {
		word, _, _ = strings.Cut(strings.TrimSuffix(word, "\n"), "\t")
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}

// keyboard types into a shell on a terminal.
type keyboard struct {
	*liveScreen
}

// busyTries is how often a line is completed that gets no name.
const busyTries = 20

const (
	ctrlG = "\a" // prints the line that is being edited
	ctrlU = "\x15"
)

func (c *completer) keyboard(shell string) *keyboard {
	c.t.Helper()
	setup := `source <(etcdkit completion ` + shell + `); echo RE''ADY`
	var cmd *exec.Cmd
	switch shell {
	case "bash":
		cmd = exec.Command("bash", "--norc", "--noprofile", "-i")
		setup = `bind 'set enable-bracketed-paste off'; bind -x '"\C-g": printf "LI''NE<%s>END\n" "$READLINE_LINE"'; ` + setup
	case "zsh":
		cmd = exec.Command("zsh", "-f", "-i")
		setup = `autoload -Uz compinit; compinit -D; show() { zle -I; print -r -- "LI""NE<$BUFFER>END" }; zle -N show; bindkey '^G' show; bindkey '^U' kill-whole-line; ` + setup
	}
	cmd.Env, cmd.Dir = append(c.env, "PS1="+prompt), c.dir
	k := &keyboard{startLive(c.t, cmd)}
	k.write(setup + "\r")
	k.awaitFrom(0, "READY")
	return k
}

// line is the line after keys, among them Tab.
func (k *keyboard) line(keys string) string {
	k.t.Helper()
	from := len(k.text())
	k.write(ctrlU + keys + ctrlG)
	const end = ">END\r\n"
	k.awaitFrom(from, end)
	k.awaitFrom(from+strings.Index(k.text()[from:], end), prompt) // the shell reads keys again, not the terminal
	_, line, _ := strings.Cut(k.text()[from:], "LINE<")
	line, _, _ = strings.Cut(line, ">END")
	return line
}

// completed is the line after a Tab. On a busy machine etcd's answer can be later than a completion waits for it: then it
// offers nothing, and its user types again. A line that must stay as it is is typed once.
func (k *keyboard) completed(line, want string) string {
	k.t.Helper()
	got := k.line(line + "\t")
	for tries := 1; got == line && want != line && tries < busyTries; tries++ {
		got = k.line(line + "\t")
	}
	return got
}

// listed is what is shown when a second Tab lists names, want among them. It types again where etcd's answer was too late,
// as completed does.
func (k *keyboard) listed(line, want string) string {
	k.t.Helper()
	from := len(k.text())
	for range busyTries {
		k.line(line + "\t\t")
		if shown := k.text()[from:]; strings.Contains(shown, want) {
			return shown
		}
	}
	k.t.Fatalf("no %q on the screen: %q", want, k.text()[from:])
	return ""
}

// completions puts keys, a lock and files where shells complete them.
func completions(t *testing.T) (c *completer, prefix string) {
	cli, prefix := etcdtest.New(t)
	for _, key := range []string{"apple", "apricot/1", "apricot/2", "$(touch pwned)", "it's", "my folder/x", "c:d/e", "\x1b[31mred", "ütf/x"} {
		if _, err := cli.Put(t.Context(), prefix+key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	m := lock.New(cli, prefix+"nightly", nil)
	t.Cleanup(func() { m.Close() })
	if _, err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	c = newCompleter(t, "ETCDKIT_ENDPOINTS="+cli.Endpoints()[0])
	for _, file := range []string{"one.pem", "two files"} {
		if err := os.WriteFile(filepath.Join(c.dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c, prefix
}

// skipUnderRace: there a process starts later than a completion may answer, so that none has a name of etcd.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if means.Race {
		t.Skip("the race detector makes the start of a process longer than a completion may take")
	}
}

func TestBashAndZshCompleteCommandsNamesAndFiles(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	for _, shell := range []string{"bash", "bash with bash-completion", "zsh"} {
		t.Run(shell, func(t *testing.T) {
			program, with, _ := strings.Cut(shell, " ")
			if _, err := exec.LookPath(program); err != nil {
				means.Missing(t, "no %s here: %v", program, err)
			}
			c, p := completions(t)
			k := c.keyboard(program)
			if with != "" {
				if _, err := os.Stat(bashCompletion); err != nil {
					means.Missing(t, "no bash-completion here: %v", err)
				}
				k.write("source " + bashCompletion + "; echo LO''ADED\r")
				k.awaitFrom(0, "LOADED")
			}
			for line, want := range map[string]string{
				"etcdkit ver":                      "etcdkit version ",
				"etcdkit get " + p + "app":         "etcdkit get " + p + "apple ",
				"etcdkit get " + p + "apr":         "etcdkit get " + p + "apricot/", // and no space
				"etcdkit get a " + p + "app":       "etcdkit get a " + p + "apple ",
				"etcdkit get " + p + "my":          "etcdkit get " + p + `my\ folder/`,
				"etcdkit get " + p + `my\ folder/`: "etcdkit get " + p + `my\ folder/x `,
				"etcdkit get " + p + "c:":          "etcdkit get " + p + "c:d/",
				"etcdkit get " + p + "it":          "etcdkit get " + p + `it\'s `,
				"etcdkit get '" + p + "it":         "etcdkit get '" + p + `it'\''s' `,
				"etcdkit get " + p + `\$`:          "etcdkit get " + p + `\$\(touch\ pwned\) `,
				"etcdkit get " + p + "ü":           "etcdkit get " + p + "ütf/",
				"etcdkit get $(touch pwned) " + p:  "etcdkit get $(touch pwned) " + p, // it is not run
				"etcdkit lock " + p:                "etcdkit lock " + p + "nightly ",
				"etcdkit lock " + p + "nightly ":   "etcdkit lock " + p + "nightly -- ",
				"etcdkit lock x -- cat one":        "etcdkit lock x -- cat one.pem ",
				"etcdkit lock x -- etcdki":         "etcdkit lock x -- etcdkit ",
				"etcdkit get -o val":               "etcdkit get -o value ",
				"etcdkit get --output=tem":         "etcdkit get --output=template=",
				"etcdkit get --cacert=one":         "etcdkit get --cacert=one.pem ",
				"etcdkit put k @tw":                `etcdkit put k @two\ files `,
				"etcdkit render x:one":             "etcdkit render x:one.pem ",
				"etcdkit get one":                  "etcdkit get one", // no file
				"etcdkit get a >one":               "etcdkit get a >one.pem ",
				"etcdkit ctl memb":                 "etcdkit ctl member ",
			} {
				if got := k.completed(line, want); got != want {
					t.Errorf("%q: got %q, want %q", line, got, want)
				}
			}
			if _, err := os.Stat(filepath.Join(c.dir, "pwned")); err == nil {
				t.Error("what was typed has been run")
			}
			if text := k.listed("etcdkit get "+p, "apricot/"); strings.Contains(text, "red") {
				t.Errorf("a name with a control character is on the terminal: %q", text)
			}
		})
	}
}

func TestFishCompletesCommandsNamesAndFiles(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	if _, err := exec.LookPath("fish"); err != nil {
		means.Missing(t, "no fish here: %v", err)
	}
	c, p := completions(t)
	for line, want := range map[string][]string{
		"etcdkit ver":               {"version"},
		"etcdkit get " + p + "ap":   {p + "apple", p + "apricot/"},
		"etcdkit get '" + p + "my":  {p + "my folder/"},
		"etcdkit get " + p:          {p + "$(touch pwned)", p + "apple", p + "apricot/", p + "c:d/", p + "it's", p + "my folder/", p + "nightly/", p + "ütf/"},
		"etcdkit lock " + p:         {p + "nightly"},
		"etcdkit lock x -- cat one": {"one.pem"},
		"etcdkit get --output=tem":  {"--output=template="},
		"etcdkit get --cacert=one":  {"--cacert=one.pem"},
		"etcdkit put k @tw":         {"@two files"},
		"etcdkit get one":           nil,
		"etcdkit ctl memb":          {"member"},
		"etcdkit lock x -- etcdki":  {"etcdkit"},
	} {
		got := c.fish(line)
		for tries := 1; len(got) == 0 && len(want) > 0 && tries < busyTries; tries++ {
			got = c.fish(line) // as in completed
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	c.fish("etcdkit get (touch pwned) " + p)
	if _, err := os.Stat(filepath.Join(c.dir, "pwned")); err == nil {
		t.Error("what was typed has been run")
	}
}

func TestTheCompletionScriptOfEachShellIsValid(t *testing.T) {
	c := newCompleter(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if _, err := exec.LookPath(shell); err != nil {
			means.Missing(t, "no %s here: %v", shell, err)
		}
		cmd := exec.Command("sh", "-c", "etcdkit completion "+shell+" | "+shell+" -n")
		cmd.Env = c.env
		if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
			t.Errorf("%s: %v: %s", shell, err, output)
		}
	}
}

func TestACompletionGivesUpSoonWhileEtcdIsSilent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	c := newCompleter(t, "ETCDKIT_ENDPOINTS="+silent.Addr().String())
	var took []time.Duration
	for range 9 {
		cmd := etcdkit(t, shortDir(t), "completion", "reply", "bash", "etcdkit get a", " :=", "9", "80")
		cmd.Env = c.env
		begin := time.Now()
		output, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(output)) != "names 0" {
			t.Fatalf("got %q, %v, want no name", output, err)
		}
		took = append(took, time.Since(begin).Round(time.Millisecond))
	}
	slices.Sort(took)
	t.Logf("the whole process took %v at least, %v in the median, %v at most", took[0], took[len(took)/2], took[len(took)-1])
	if took[0] > 150*time.Millisecond && !means.Race {
		t.Errorf("a silent etcd held a completion up for %v at least, want 150ms at most", took[0])
	}
}
