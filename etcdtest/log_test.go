package etcdtest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// logged is a test whose log another test can read.
type logged struct {
	testing.TB
	lines chan string
}

func (l logged) Logf(format string, args ...any) {
	select {
	case l.lines <- fmt.Sprintf(format, args...):
	default:
	}
}

func TestTheMembersWarningsGoToTheTestsLog(t *testing.T) {
	log := logged{t, make(chan string, 100)}
	c := etcdtest.NewCluster(log, nil)
	p, err := os.FindProcess(c.State().Members[1].PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line := <-log.lines:
			if strings.Contains(line, "member ended: signal: killed") {
				return
			}
		case <-deadline:
			t.Fatal("the end of a member is not in the test's log")
		}
	}
}
