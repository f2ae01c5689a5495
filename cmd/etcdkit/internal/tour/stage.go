package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// stage is where one lesson takes place.
type stage struct {
	*Options
	lesson *Lesson
	result *Result
	env    []string // of its programs
	tell   func(Event)

	latest *program // the one that was started last

	mu      sync.Mutex // guards the result's Output, several and tell, while programs run side by side
	several bool       // more than one program has run at once
}

func newStage(opts *Options, l *Lesson, tell func(Event)) *stage {
	env := place.WithoutEtcdctl(opts.Place.Environ(opts.Environ))
	return &stage{Options: opts, lesson: l, env: env, tell: tell, result: &Result{Name: l.Title, Shows: l.Shows}}
}

func (s *stage) emit(kind Kind, text string) { s.event(Event{Kind: kind, Text: text}) }

func (s *stage) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Lesson = s.lesson
	s.tell(e)
}

func (s *stage) skip(why string) {
	s.result.Skipped = why
	s.emit(Skipped, why)
}

func (s *stage) run(ctx context.Context) {
	s.emit(Begins, s.lesson.Shows)
	begin := time.Now()
	err := s.lesson.walk(ctx, s)
	if err != nil && ctx.Err() == nil {
		s.check(false, "%v", err)
	}
	s.result.Took = since(begin)
	if s.lesson.columns != nil {
		for line := range strings.Lines(columns(strings.Join(s.result.Output, "\n"), s.lesson.columns...)) {
			s.emit(Line, strings.TrimSuffix(line, "\n"))
		}
	}
	for _, c := range s.result.Checks {
		s.event(Event{Kind: Checked, Text: c.Expected, OK: c.OK})
	}
}

func (s *stage) check(ok bool, format string, args ...any) {
	s.result.Checks = append(s.result.Checks, Check{fmt.Sprintf(format, args...), ok})
}

// does says what the tour itself does.
func (s *stage) does(format string, args ...any) { s.emit(Does, fmt.Sprintf(format, args...)) }

// waiting says what takes its time, until the returned function is called.
func (s *stage) waiting(what string) (done func()) {
	s.emit(Waiting, what)
	return func() { s.emit(Waited, "") }
}

// record records a line that a program of the lesson printed.
func (s *stage) record(label, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Data && strings.ContainsFunc(line, isDrawing) {
		return // a picture is for people
	}
	s.result.Output = append(s.result.Output, line)
	if s.lesson.columns == nil {
		e := Event{Kind: Line, Lesson: s.lesson, Text: line}
		if s.several {
			e.Program = label
		}
		s.tell(e)
	}
}

// isDrawing tells what lines, frames and curves are drawn with.
func isDrawing(r rune) bool { return r >= '\u2500' && r <= '\u259f' || r >= '\u2800' && r <= '\u28ff' }

// start runs an example.
func (s *stage) start(name string, args ...string) (*program, error) {
	return s.startAs(name, name, args...)
}

// startAs runs an example, whose lines have a label while others run, too.
func (s *stage) startAs(label, name string, args ...string) (*program, error) {
	shown := append([]string{s.Programs.from.run(name)}, args...)
	return s.launch(label, strings.Join(shown, " "), exec.Command(s.Programs.path[name], args...))
}

// etcdctl runs upstream's etcdctl.
func (s *stage) etcdctl(args ...string) (*program, error) {
	var shown []string
	for _, a := range args {
		if a == "" {
			a = "''"
		}
		shown = append(shown, a)
	}
	all := append(append([]string{}, s.Etcdctl...), args...)
	return s.launch("etcdctl", s.Called+" "+strings.Join(shown, " "), exec.Command(all[0], all[1:]...))
}

func (s *stage) launch(label, shown string, cmd *exec.Cmd) (*program, error) {
	s.emit(Command, shown)
	s.result.Commands = append(s.result.Commands, shown)
	cmd.Env = s.env
	if s.latest != nil && !s.latest.hasEnded() {
		s.mu.Lock()
		s.several = true
		s.mu.Unlock()
	}
	p, err := launch(cmd, shown, func(line string) { s.record(label, line) })
	if err == nil {
		s.latest = p
	}
	return p, err
}

// table asks etcdctl for a table. With Data it is data instead, and goes to the result's.
func (s *stage) table(ctx context.Context, args ...string) (out string, err error) {
	form := "table"
	if s.Data {
		form = "json"
	}
	p, err := s.etcdctl(append(args, "-w", form)...)
	if err != nil {
		return "", err
	}
	out, err = p.wait(ctx)
	if s.Data && json.Valid([]byte(out)) {
		s.result.Data, s.result.Output = json.RawMessage(out), nil
	}
	return out, err
}
