package safety_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is a small history in which everything is in order.
func good() *evidence {
	e := &evidence{}
	for _, part := range []*evidence{goodMutex(), goodRW(), goodSemaphore(), goodElection()} {
		e.ops, e.events = append(e.ops, part.ops...), append(e.events, part.events...)
	}
	return e
}

// goodMutex: w1 visits a register while w2 waits, w2 increments, and w1 does, without an answer.
func goodMutex() *evidence {
	a, b, register, counterKey := mutex.queue()+"a-0", mutex.queue()+"b-0", mutex.registers()+"0", mutex.counter()
	return &evidence{
		events: []event{
			{Revision: 10, Key: a, Created: 10},
			{Revision: 11, Key: b, Created: 11},
			{Revision: 12, Key: register, Value: "0 w1.3 10", Created: 12},
			{Revision: 13, Key: a},
			{Revision: 14, Key: counterKey, Value: "1 w2.2 11", Created: 14},
			{Revision: 14, Key: b},
			{Revision: 15, Key: a, Created: 15},
			{Revision: 16, Key: counterKey, Value: "2 w1.7 15", Created: 14},
			{Revision: 16, Key: a},
		},
		ops: []op{
			{Worker: "w1", N: 1, Op: acquire, Key: a, Token: 10, Call: 100, Return: 110, Outcome: ok, Revision: 10},
			{Worker: "w1", N: 2, Op: read, Key: register, Token: 10, Call: 100, Return: 111, Outcome: ok, Revision: 10},
			{Worker: "w1", N: 3, Op: write, Key: register, Token: 10, Call: 120, Return: 130, Outcome: ok, Revision: 12, Value: "0 w1.3 10"},
			{Worker: "w1", N: 4, Op: read, Key: register, Token: 10, Call: 140, Return: 150, Outcome: ok, Revision: 12, Value: "0 w1.3 10"},
			{Worker: "w1", N: 5, Op: release, Key: a, Token: 10, Call: 160, Return: 170, Outcome: ok},
			{Worker: "w2", N: 1, Op: acquire, Key: b, Token: 11, Call: 105, Return: 175, Outcome: ok, Revision: 13},
			{Worker: "w2", N: 2, Op: increment, Key: counterKey, Token: 11, Call: 180, Return: 190, Outcome: ok, Revision: 14, Value: "1 w2.2 11"},
			{Worker: "w1", N: 6, Op: acquire, Key: a, Token: 15, Call: 200, Return: 210, Outcome: ok, Revision: 15},
			{Worker: "w1", N: 7, Op: increment, Key: counterKey, Token: 15, Call: 220, Outcome: info, Value: "2 w1.7 15"},
			{Worker: "w2", N: 3, Op: write, Key: register, Token: 11, Call: 230, Return: 240, Outcome: fail, Value: "0 w2.3 11"},
			{Worker: "w2", N: 4, Op: read, Key: register, Call: 250, Return: 260, Outcome: ok, Value: "0 w1.3 10"},
		},
	}
}

// of finds an operation to spoil.
func (e *evidence) of(worker string, n int) *op {
	return &e.ops[slices.IndexFunc(e.ops, func(o op) bool { return o.Worker == worker && o.N == n })]
}

// at finds an event to spoil.
func (e *evidence) at(revision int64) *event {
	return &e.events[slices.IndexFunc(e.events, func(ev event) bool { return ev.Revision == revision })]
}

// atKey finds the first event of a key to spoil.
func (e *evidence) atKey(key string) *event {
	return &e.events[slices.IndexFunc(e.events, func(ev event) bool { return ev.Key == key })]
}

// badHistory is one in which something is not in order.
type badHistory struct {
	name  string
	spoil func(*evidence)
	by    []string // the checks that must find it; the others must not
}

func eachIsFound(t *testing.T, all []badHistory) {
	t.Helper()
	for _, bad := range all {
		e := good()
		bad.spoil(e)
		for _, c := range checks() {
			if err := c.run(e); (err != nil) != slices.Contains(bad.by, c.name) {
				t.Errorf("%s: the check %q says: %v", bad.name, c.name, err)
			}
		}
	}
}

func TestAGoodHistoryIsGood(t *testing.T) {
	eachIsFound(t, []badHistory{{"nothing", func(*evidence) {}, nil}})
}

func TestAWrongHolderIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"a token that is no create revision", func(e *evidence) { e.of("w2", 1).Token = 13 }, []string{byTokens, byHolder}},
		{"a token for two", func(e *evidence) { *e.of("w1", 6) = *e.of("w1", 1) }, []string{byTokens, byHolder}},
		{"a smaller token after a larger one", func(e *evidence) { e.of("w2", 1).Call, e.of("w2", 1).Return = 300, 310 }, []string{byTokens}},
		{"a waiter that does not wait", func(e *evidence) { e.of("w2", 1).Revision = 12 }, []string{byTurn}},
		{"a waiter whose entry is gone", func(e *evidence) { e.of("w2", 1).Revision = 14 }, []string{byTurn}},
	})
}

func TestAWrongWriteIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"a write of the one that waits", func(e *evidence) {
			e.of("w1", 3).Value, e.of("w1", 4).Value, e.of("w2", 4).Value, e.at(12).Value = "0 w1.3 11", "0 w1.3 11", "0 w1.3 11", "0 w1.3 11"
		}, []string{byAccepted, byHolder}},
		{"a write after the end of its turn", func(e *evidence) {
			e.at(12).Revision, e.of("w1", 3).Revision = 15, 15
		}, []string{byAccepted}},
		{"an acknowledged write that is not there", func(e *evidence) { e.events = slices.Delete(e.events, 2, 3) }, []string{byAnswers}},
		{"a write that happened twice", func(e *evidence) {
			e.events = slices.Insert(e.events, 3, *e.at(12))
		}, []string{byAnswers}},
		{"a refused write that happened", func(e *evidence) { e.of("w1", 7).Outcome = fail }, []string{byAnswers, byCount}},
		{"a write that no worker asked for", func(e *evidence) { e.at(12).Value = "0 w9.3 10" }, []string{byAnswers, byHolder}},
		{"an increment that is lost", func(e *evidence) {
			e.at(16).Value, e.of("w1", 7).Value = "1 w1.7 15", "1 w1.7 15"
		}, []string{byCount}},
	})
}

// underToken makes a read one of w1's second hold.
func underToken(o *op) { o.Worker, o.N, o.Token, o.Revision = "w1", 8, 15, 15 }

func TestAWrongRegisterIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"a read of what was there before", func(e *evidence) { e.of("w1", 4).Value = "" }, []string{byRegister}},
		{"a read of what a refused write was to write", func(e *evidence) { e.of("w2", 4).Value = "0 w2.3 11" }, []string{byRegister}},
		{"an old token that is accepted after a newer one", func(e *evidence) {
			underToken(e.of("w2", 4))
			e.ops = append(e.ops, op{Worker: "w2", N: 5, Op: read, Key: mutex.registers() + "0", Token: 11, Revision: 13, Call: 300, Return: 310, Outcome: ok, Value: "0 w1.3 10"})
		}, []string{byRegister}},
		{"a write without an answer that is undone", func(e *evidence) {
			e.of("w2", 3).Outcome, e.of("w2", 4).Value = info, "0 w2.3 11"
			e.ops = append(e.ops, op{Worker: "w2", N: 5, Op: read, Key: mutex.registers() + "0", Call: 300, Return: 310, Outcome: ok, Value: "0 w1.3 10"})
		}, []string{byRegister}},
		{"nothing: a write without an answer may be refused late", func(e *evidence) {
			underToken(e.of("w2", 4))
			e.of("w2", 3).Outcome, e.of("w2", 3).Call = info, 176
		}, nil},
		{"nothing: a write without an answer may happen late", func(e *evidence) {
			e.of("w2", 3).Outcome = info
			e.ops = append(e.ops, op{Worker: "w2", N: 5, Op: read, Key: mutex.registers() + "0", Call: 300, Return: 310, Outcome: ok, Value: "0 w2.3 11"})
			e.events = slices.Insert(e.events, 5, event{Revision: 13, Key: mutex.registers() + "0", Value: "0 w2.3 11", Created: 12})
		}, nil},
	})
}

// What the checker cannot decide is not right, and what is wrong can be looked at.
func TestARegisterThatIsNotShownToBeLinearizableIsWrong(t *testing.T) {
	hard := &evidence{}
	for n := range 200 {
		hard.ops = append(hard.ops, op{Worker: "w1", N: n, Op: write, Key: mutex.registers() + "0", Call: 1, Outcome: info, Value: fmt.Sprint(n)})
	}
	hard.ops = append(hard.ops, op{Worker: "w2", Op: read, Key: mutex.registers() + "0", Call: 2, Return: 3, Outcome: ok, Value: "never written"})
	if err := linearizable(hard, time.Millisecond, ""); err == nil || !strings.Contains(err.Error(), "Unknown") {
		t.Errorf("got %v, want Unknown", err)
	}
	bad, dir := good(), t.TempDir()
	bad.of("w1", 4).Value = ""
	if err := linearizable(bad, thinking, dir); err == nil {
		t.Error("a stale read is right")
	}
	if pictures, err := os.ReadDir(dir); err != nil || len(pictures) != 1 {
		t.Errorf("pictures %v, %v, want one", pictures, err)
	}
}

func TestARunThatProvesNothingIsVoid(t *testing.T) {
	e := good()
	e.faults = []fault{
		{Kind: pauseWorker, On: "w1", Begin: 115, End: 115 + 1e9, Effect: "stopped"},
		{Kind: killLeader, On: "etcd1", Begin: 100, End: 200},
	}
	e.of("w1", 7).Call = 115 + 9e8
	e.ops = slices.DeleteFunc(e.ops, func(o op) bool { return o.Outcome == fail })
	got := strings.Join(void(e), "\n")
	for _, want := range []string{
		"on etcd1 had no effect", "began while it was stopped", "there was no SIGKILL worker", `mutex: only 1 operations "write"`,
		`mutex: only 1 operations "increment"`, `rwmutex: only 4 operations "read"`, `semaphore: only 1 operations "commit"`,
		`election: only 2 operations "proclaim"`, "semaphore: etcd never had to refuse", "election: no write came late",
		"no worker was paused while it waited", byAccepted + ": mutex: without the guard nothing is wrong", byCount + ": ", byReads + ": ", bySize + ": ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q among the reasons:\n%s", want, got)
		}
	}
}
