package fence_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/lock/fence"
)

const (
	// holderEnv makes this test binary a process that acquires a lock and says so; on each line of
	// its stdin it sends a write to a service, whatever has become of its hold: it is what a program
	// does that was stopped right before.
	holderEnv = "ETCDKIT_TEST_FENCE" // NAME ENDPOINTS URL
	holderTTL = 2 * time.Second

	within = 60 * time.Second
)

func hold(job string) int {
	f := strings.Fields(job)
	name, endpoints, url := f[0], strings.Split(f[1], ","), f[2]
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	h, err := lock.New(cli, name, &lock.Options{TTL: holderTTL}).Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		status, err := write(context.Background(), url, h.Token(), lines.Text())
		fmt.Println(status, err)
	}
	return 0
}

func write(ctx context.Context, url string, token int64, text string) (status string, err error) {
	return send(ctx, http.MethodPut, url, token, text)
}

func send(ctx context.Context, method, url string, token int64, text string) (status string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(text))
	if err != nil {
		return "", err
	}
	fence.SetToken(r.Header, token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	return resp.Status, resp.Body.Close()
}

// files is a storage service of one file.
type files struct {
	mu   sync.Mutex
	text string
}

func (f *files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Method == http.MethodPut {
		f.text = string(text)
	}
	_, _ = io.WriteString(w, f.text)
}

// The story that fences are for: a holder is stopped, loses the lock, and goes on in the middle of
// a write. Without a fence its write is the last one.
func TestALateWriteOfAHolderThatStoodStillIsRefused(t *testing.T) {
	for _, c := range []struct {
		name            string
		fenced          func(http.Handler) http.Handler
		late, afterward string
	}{
		{"fenced", func(next http.Handler) http.Handler { return fence.Handler(next, nil) }, "412 Precondition Failed <nil>", "of the second"},
		{"unfenced", func(next http.Handler) http.Handler { return next }, "200 OK <nil>", "of the first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			cli, prefix := etcdtest.New(t)
			storage := &files{}
			service := httptest.NewServer(c.fenced(storage))
			defer service.Close()
			defer http.DefaultClient.CloseIdleConnections()

			first := startHolder(t, prefix+"lock", cli.Endpoints(), service.URL)
			first.says(t, "held")
			first.signal(t, syscall.SIGSTOP)

			m := lock.New(cli, prefix+"lock", nil)
			defer m.Close()
			h, err := m.Acquire(ctx) // as the first one's lease has ended
			if err != nil {
				t.Fatal(err)
			}
			status, err := write(ctx, service.URL, h.Token(), "of the second")
			if err != nil || status != "200 OK" {
				t.Fatalf("the second one's write: %s, %v", status, err)
			}

			first.signal(t, syscall.SIGCONT)
			if _, err := io.WriteString(first.stdin, "of the first\n"); err != nil {
				t.Fatal(err)
			}
			first.says(t, c.late)
			if storage.text != c.afterward {
				t.Errorf("the file is %q, want %q", storage.text, c.afterward)
			}
			if err := h.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A fence knows of a holder when it passes for the first time: one who reads passes it, too.
func TestAReadWithATokenKeepsOutOlderWrites(t *testing.T) {
	for _, c := range []struct {
		name          string
		reads, writes int64 // tokens of the second one's
		late          string
	}{
		{"with", 34, 34, "412 Precondition Failed"},
		{"without", 0, 34, "200 OK"}, // and the second one's write undoes it
	} {
		t.Run(c.name, func(t *testing.T) {
			defer http.DefaultClient.CloseIdleConnections()
			service := httptest.NewServer(fence.Handler(&files{}, nil))
			defer service.Close()
			if c.reads != 0 {
				if status, err := send(t.Context(), http.MethodGet, service.URL, c.reads, ""); err != nil || status != "200 OK" {
					t.Fatal(status, err)
				}
			}
			if status, err := write(t.Context(), service.URL, 33, "late"); err != nil || status != c.late {
				t.Errorf("the first one's late write: got %s, %v; want %s", status, err, c.late)
			}
			if status, err := write(t.Context(), service.URL, c.writes, "next"); err != nil || status != "200 OK" {
				t.Errorf("the second one's write: got %s, %v", status, err)
			}
		})
	}
}

// holder is a process that holds a lock.
type holder struct {
	cmd   *exec.Cmd
	stdin io.Writer
	lines *bufio.Scanner
}

func startHolder(t *testing.T, name string, endpoints []string, url string) *holder {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{cmd: exec.Command(exe)}
	h.cmd.Env = append(os.Environ(), holderEnv+"="+strings.Join([]string{name, strings.Join(endpoints, ","), url}, " "))
	out, e1 := h.cmd.StdoutPipe()
	in, e2 := h.cmd.StdinPipe()
	if err := errors.Join(e1, e2, h.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	h.stdin, h.lines = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill() // it may be dead already
		_ = h.cmd.Wait()         // killed, it says
	})
	return h
}

func (h *holder) says(t *testing.T, want string) {
	t.Helper()
	if !h.lines.Scan() {
		t.Fatalf("the holder ended, want %q", want)
	}
	if got := h.lines.Text(); got != want {
		t.Fatalf("the holder says %q, want %q", got, want)
	}
}

func (h *holder) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
