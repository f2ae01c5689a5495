package fence_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock/fence"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(holderEnv); job != "" {
		os.Exit(hold(job))
	}
	goleak.VerifyTestMain(etcdtest.Main(m))
}

func TestAStaleTokenSaysWhoseAndWhatIsNewer(t *testing.T) {
	var m fence.Memory
	for _, token := range []int64{33, 34, 34} {
		if err := m.Check(t.Context(), "jobs/nightly", token); err != nil {
			t.Errorf("token %d: %v", token, err)
		}
	}
	err := m.Check(t.Context(), "jobs/nightly", 33)
	stale, ok := errors.AsType[*fence.StaleError](err)
	if !errors.Is(err, fence.ErrStale) || !ok || *stale != (fence.StaleError{Name: "jobs/nightly", Token: 33, Seen: 34}) {
		t.Fatalf("33 after 34: got %#v, want a StaleError of jobs/nightly with 33 and 34", err)
	}
	want := `fence: stale token: lock "jobs/nightly" has been passed on from 33 to 34: acquire it again`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if err := m.Check(t.Context(), "jobs/hourly", 1); err != nil {
		t.Errorf("another lock's token: %v", err)
	}
}

func TestWhatCannotBeATokenIsNotSent(t *testing.T) {
	for _, token := range []int64{0, -1, -1 << 63} {
		for what, err := range map[string]error{
			"Memory":     new(fence.Memory).Check(t.Context(), "lock", token),
			"Table":      fence.Table{}.Check(t.Context(), nil, "lock", token), // a use of nil would panic
			"TableStore": fence.TableStore{}.Check(t.Context(), "lock", token),
		} {
			if !errors.Is(err, fence.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf(`lock "lock": %d:`, token)) {
				t.Errorf("%s, token %d: got %v, want ErrInvalid with the lock and the number", what, token, err)
			}
		}
	}
}

func TestWhatCannotBeATableIsNotSent(t *testing.T) {
	for _, name := range []string{
		" ", "Fences", "fences;", `fences"; DROP TABLE users; --`, "a.b.c", ".a", "a.", "1a", "für", "a b", "a-b", "a\n", "a\x00",
		strings.Repeat("a", 64), strings.Repeat("a", 64) + ".a",
	} {
		table := fence.Table{Name: name}
		for what, err := range map[string]error{
			"Check":      table.Check(t.Context(), nil, "lock", 1), // a use of nil would panic
			"Create":     table.Create(t.Context(), nil),
			"TableStore": fence.TableStore{Table: table}.Check(t.Context(), "lock", 1),
		} {
			if !errors.Is(err, fence.ErrInvalid) {
				t.Errorf("%s of table %q: got %v, want ErrInvalid", what, name, err)
			}
		}
	}
}

func TestOfConcurrentChecksInMemoryOneIsFirst(t *testing.T) {
	var (
		m        fence.Memory
		accepted = make(chan int64, 2000)
		wg       sync.WaitGroup
	)
	for range 20 {
		wg.Go(func() {
			for range 100 {
				token := 1 + rand.Int64N(1000)
				if m.Check(t.Context(), "lock", token) == nil {
					accepted <- token
				}
			}
		})
	}
	wg.Wait()
	close(accepted)
	newest := int64(0)
	for token := range accepted {
		newest = max(newest, token)
	}
	err := m.Check(t.Context(), "lock", 1)
	if stale, ok := errors.AsType[*fence.StaleError](err); !ok || stale.Seen != newest {
		t.Errorf("after all: %v, want stale, with %d seen", err, newest)
	}
}

func TestTheHeaderIsOneNumber(t *testing.T) {
	read := func(values ...string) (int64, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://files/report", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header[fence.TokenHeader] = values
		return fence.Token(r)
	}
	h := make(http.Header)
	fence.SetToken(h, 1<<62)
	if got, err := read(h[fence.TokenHeader]...); err != nil || got != 1<<62 {
		t.Errorf("of SetToken: got %d, %v; want %d", got, err, int64(1<<62))
	}
	for _, values := range [][]string{
		nil, {""}, {"0"}, {"-1"}, {"+1"}, {" 1"}, {"1 "}, {"1_0"}, {"0x1"}, {"1.0"}, {"1, 2"}, {"1", "1"}, {"one"}, {"9223372036854775808"},
	} {
		if got, err := read(values...); !errors.Is(err, fence.ErrInvalid) {
			t.Errorf("%q: got %d, %v; want ErrInvalid", values, got, err)
		}
	}
}

// held is a hold as this package needs it.
type held struct{ token int64 }

func (held) Name() string   { return "jobs/nightly" }
func (h held) Token() int64 { return h.token }

func TestAHoldKnowsItsName(t *testing.T) {
	err := fence.Table{}.CheckHold(t.Context(), nil, held{}) // a use of nil would panic
	if !errors.Is(err, fence.ErrInvalid) || !strings.Contains(err.Error(), `"jobs/nightly"`) {
		t.Errorf("got %v, want ErrInvalid with the name", err)
	}
	var _ fence.Hold = held{}
}

func TestARefusalDoesNotEchoWhatItWasSent(t *testing.T) {
	huge := strings.Repeat("\x00<script>", 20_000)
	for what, ask := range map[string]func(*http.Request){
		"a huge token":    func(r *http.Request) { r.Header.Set(fence.TokenHeader, huge) },
		"many tokens":     func(r *http.Request) { r.Header[fence.TokenHeader] = make([]string, 100_000) },
		"a huge path":     func(r *http.Request) { r.URL.Path = "/" + huge },
		"a huge method":   func(r *http.Request) { r.Method = huge },
		"a huge lock too": func(r *http.Request) { r.URL.Path, r.Header = huge, http.Header{fence.TokenHeader: {"1"}} },
	} {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		ask(r)
		answer := httptest.NewRecorder()
		h := fence.Handler(http.NotFoundHandler(), &fence.Options{
			Name: func(r *http.Request) string { return r.URL.Path },
			Store: storeFunc(func(_ context.Context, name string, token int64) error {
				return &fence.StaleError{Name: name, Token: token, Seen: 2}
			}),
		})
		h.ServeHTTP(answer, r)
		if body := answer.Body.String(); answer.Code < 400 || len(body) > 1000 || strings.Contains(body, "\x00") {
			t.Errorf("%s: %d with %d bytes, want a refusal of 1,000 at most", what, answer.Code, len(body))
		}
	}
}
