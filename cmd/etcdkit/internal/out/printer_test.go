package out

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsSaidOnStderrDoesNotFollowALineThatIsTakenBack(t *testing.T) {
	for name, say := range map[string]func(*Printer){
		"Talkf":  func(p *Printer) { p.Talkf("a message") },
		"Logger": func(p *Printer) { p.Logger(slog.LevelInfo).Info("a message") },
	} {
		synctest.Test(t, func(t *testing.T) {
			var terminal bytes.Buffer
			p := &Printer{stdout: &terminal, stderr: &terminal, width: widest, lineWidth: widest}
			done := p.Waiting("a lease")
			time.Sleep(150 * time.Millisecond) // the line is there
			say(p)
			done()
			shown := terminal.String()
			before, _, said := strings.Cut(shown, "a message\n")
			if taken := strings.LastIndex(before, "\r\033[K"); !said || !strings.Contains(before, "a lease") || taken < strings.LastIndex(before, "a lease") {
				t.Errorf("%s: got %q, want the line taken back before the message", name, shown)
			}
		})
	}
}
