package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// ui prints the tour as it goes.
type ui struct {
	out    io.Writer
	silent bool      // -o json: nothing until the end, but for progress
	talk   io.Writer // progress, if silent
	live   bool      // a terminal: a line may be taken back

	mu      sync.Mutex // guards out and pending
	pending bool       // the last line is waiting's and will be taken back
}

func newUI(out, talk io.Writer, silent bool) *ui { return &ui{out: out, talk: talk, silent: silent} }

// canRewrite tells whether lines of the output may be taken back.
func canRewrite(out io.Writer) bool {
	return out == os.Stdout && isatty.IsTerminal(os.Stdout.Fd()) && os.Getenv("TERM") != "dumb"
}

func (u *ui) printf(format string, args ...any) {
	if u.silent {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.takeBack()
	fmt.Fprintf(u.out, format, args...)
}

// takeBack removes waiting's line. u.mu is held.
func (u *ui) takeBack() {
	if u.pending {
		fmt.Fprint(u.out, "\r\033[K")
		u.pending = false
	}
}

func (u *ui) heading(cluster string) { u.printf("etcdkit tour on %s\n", cluster) }

func (u *ui) begin(s *step) {
	if u.silent {
		fmt.Fprintf(u.talk, "etcdkit tour: %s\n", s.Name)
	}
	u.printf("\n── %s %s\n", s.Name, strings.Repeat("─", max(2, 76-len(s.Name))))
	u.printf("%s\n\n", s.Shows)
}

func (u *ui) command(line string) { u.printf("$ %s\n", line) }

func (u *ui) line(text string) { u.printf("  %s\n", text) }

func (u *ui) end(s *step) {
	if s.wide != nil {
		for line := range strings.Lines(columns(strings.Join(s.Output, "\n"), s.wide...)) {
			u.line(strings.TrimSuffix(line, "\n"))
		}
	}
	for _, c := range s.Checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
		}
		u.printf("%s %s\n", mark, c.Expected)
	}
}

func (u *ui) summary(checks, failed int, took seconds) {
	if failed > 0 {
		u.printf("\n%d of %d checks FAILED in %.1fs.\n", failed, checks, took)
		return
	}
	u.printf("\nAll %d checks passed in %.1fs.\n\n", checks, took)
	u.printf("What next:\n")
	for _, next := range [][2]string{
		{"etcdkit race", "the sixth example live, with as many clients as you like"},
		{"etcdkit dev", "a cluster that stays; the examples find it at localhost:2379"},
		{"etcdkit dev kill leader", "in another terminal: watch it elect another, timed"},
		{"etcdkit dev run -- go test ./...", "your own tests on a cluster of their own"},
		{"examples/", "six programs under 80 lines, made to be copied"},
	} {
		u.printf("  %-34s %s\n", next[0], next[1])
	}
}

// waiting shows, on a terminal, that something goes on and for how long, until the returned
// function is called.
func (u *ui) waiting(what string) (done func()) {
	if !u.live {
		return func() {}
	}
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { // ends with done
		begin := time.Now()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u.mu.Lock()
				u.takeBack()
				fmt.Fprintf(u.out, "  … %s %.1fs", what, time.Since(begin).Seconds())
				u.pending = true
				u.mu.Unlock()
			case <-stop:
				u.mu.Lock()
				u.takeBack()
				u.mu.Unlock()
				return
			}
		}
	})
	return func() {
		close(stop)
		ticking.Wait()
	}
}
