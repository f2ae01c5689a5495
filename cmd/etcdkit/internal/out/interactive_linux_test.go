package out

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdkit/etcdkit/internal/means"
)

// tty is a pseudo-terminal: its user's end, what was drawn there, and the program's end.
type tty struct {
	t        *testing.T
	user     *os.File
	program  *os.File
	before   unix.Termios
	finished chan struct{}

	mu    sync.Mutex
	drawn strings.Builder
}

func openTTY(t *testing.T) *tty {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		means.Missing(t, "no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &tty{t: t, user: user, program: program, before: termios(t, program), finished: make(chan struct{})}
	go func() { // ends when the program's end is closed
		defer close(p.finished)
		for buf := make([]byte, 4096); ; {
			n, err := user.Read(buf)
			p.mu.Lock()
			p.drawn.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { user.Close() })
	return p
}

func termios(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	v, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *v
}

func (p *tty) printer() *Printer {
	return &Printer{stdout: p.program, stderr: p.program, width: widest, rewrites: true}
}

func (p *tty) write(keys string) {
	p.t.Helper()
	if _, err := p.user.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// wantGivenBack closes the terminal, and checks that it was left as it was found.
func (p *tty) wantGivenBack() {
	p.t.Helper()
	if got := termios(p.t, p.program); got.Lflag != p.before.Lflag || got.Oflag != p.before.Oflag || got.Iflag != p.before.Iflag {
		p.t.Errorf("the terminal's modes are %+v, want %+v", got, p.before)
	}
	p.program.Close()
	<-p.finished
	if text := p.drawn.String(); strings.Count(text, enterScreen) != 1 || !strings.HasSuffix(text, leaveScreen) {
		p.t.Errorf("want the other screen once, and then this one again: %q", text)
	}
}

func TestKeysComeWhileThePictureIsDrawnAndTheTerminalIsGivenBack(t *testing.T) {
	p := openTTY(t)
	var typed []Key
	pictures := 0
	err := p.printer().Interactive(t.Context(), p.program, func(int, int) []string {
		if pictures++; pictures == 1 {
			p.write("a\033[A\003q")
		}
		return []string{fmt.Sprint("picture ", pictures)}
	}, func(key Key) bool {
		typed = append(typed, key)
		return key != "q"
	})
	if got := fmt.Sprint(typed); err != nil || got != "[a up ctrl-c q]" {
		t.Errorf("got %s, %v", got, err)
	}
	p.wantGivenBack()
}

func TestAPanicGivesTheTerminalBack(t *testing.T) {
	p := openTTY(t)
	func() {
		defer func() {
			if v := recover(); v != "a defect" {
				t.Errorf("recovered %v, want the panic", v)
			}
		}()
		_ = p.printer().Interactive(t.Context(), p.program, func(int, int) []string { panic("a defect") }, func(Key) bool { return true })
	}()
	p.wantGivenBack()
}

func TestTheContextEndsThePictureWithoutAKey(t *testing.T) {
	p := openTTY(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.printer().Interactive(ctx, p.program, func(int, int) []string { return []string{"x"} }, func(Key) bool { return true })
	if err != nil {
		t.Error(err)
	}
	p.wantGivenBack()
}

func TestThereIsNoPictureWithoutATerminal(t *testing.T) {
	var text strings.Builder
	err := New(&text, &text).Interactive(t.Context(), strings.NewReader("q"), func(int, int) []string { return []string{"x"} }, func(Key) bool { return true })
	if err != ErrNoScreen || text.Len() > 0 {
		t.Errorf("got %v and %q, want ErrNoScreen and nothing", err, text.String())
	}
}
