package safety_test

import (
	"slices"
	"testing"
)

// goodRW: w1 and w2 read, w3 waits for both, and w1, which comes again, for w3.
func goodRW() *evidence {
	a, b, c, d := rwmutex.queue()+"ra-0", rwmutex.queue()+"rb-0", rwmutex.queue()+"c-0", rwmutex.queue()+"rd-1"
	register, value := rwmutex.registers()+"0", "0 w3.2 22"
	return &evidence{
		events: []event{
			{Revision: 20, Key: a, Created: 20},
			{Revision: 21, Key: b, Created: 21},
			{Revision: 22, Key: c, Created: 22},
			{Revision: 23, Key: d, Created: 23},
			{Revision: 24, Key: a},
			{Revision: 25, Key: b},
			{Revision: 26, Key: register, Value: value, Created: 26},
			{Revision: 27, Key: rwmutex.counter(), Value: "1 w3.3 22", Created: 27},
			{Revision: 27, Key: c},
			{Revision: 28, Key: d},
		},
		ops: []op{
			{Worker: "w1", N: 20, Op: acquire, Key: a, Token: 20, Call: 1000, Return: 1010, Outcome: ok, Revision: 20},
			{Worker: "w1", N: 21, Op: read, Key: register, Token: 20, Call: 1000, Return: 1010, Outcome: ok, Revision: 20},
			{Worker: "w2", N: 20, Op: acquire, Key: b, Token: 21, Call: 1011, Return: 1020, Outcome: ok, Revision: 21},
			{Worker: "w2", N: 21, Op: read, Key: register, Token: 21, Call: 1021, Return: 1030, Outcome: ok, Revision: 23},
			{Worker: "w1", N: 22, Op: read, Key: register, Token: 20, Call: 1031, Return: 1040, Outcome: ok, Revision: 23},
			{Worker: "w3", N: 1, Op: acquire, Key: c, Token: 22, Call: 1022, Return: 1060, Outcome: ok, Revision: 25},
			{Worker: "w3", N: 2, Op: write, Key: register, Token: 22, Call: 1061, Return: 1070, Outcome: ok, Revision: 26, Value: value},
			{Worker: "w3", N: 3, Op: increment, Key: rwmutex.counter(), Token: 22, Call: 1071, Return: 1080, Outcome: ok, Revision: 27, Value: "1 w3.3 22"},
			{Worker: "w1", N: 23, Op: acquire, Key: d, Token: 23, Call: 1045, Return: 1090, Outcome: ok, Revision: 27},
			{Worker: "w1", N: 24, Op: read, Key: register, Token: 23, Call: 1091, Return: 1100, Outcome: ok, Revision: 27, Value: value},
		},
	}
}

// goodSemaphore: w1 and w2 take all, w3 waits for both, and w4, for which there would be room,
// behind w3.
func goodSemaphore() *evidence {
	a, b, c, d := semaphore.queue()+"a-0.2of4", semaphore.queue()+"b-0.2of4", semaphore.queue()+"c-0.3of4", semaphore.queue()+"d-0.1of4"
	register, value := semaphore.registers()+"0", "0 w3.11 32"
	return &evidence{
		events: []event{
			{Revision: 30, Key: a, Created: 30},
			{Revision: 31, Key: b, Created: 31},
			{Revision: 32, Key: c, Created: 32},
			{Revision: 33, Key: d, Created: 33},
			{Revision: 34, Key: a},
			{Revision: 35, Key: b},
			{Revision: 36, Key: register, Value: value, Created: 36},
			{Revision: 37, Key: semaphore.counter(), Value: "0 w4.2 33", Created: 37},
			{Revision: 37, Key: d},
			{Revision: 38, Key: c},
		},
		ops: []op{
			{Worker: "w1", N: 30, Op: acquire, Key: a, Token: 30, Call: 2000, Return: 2010, Outcome: ok, Revision: 30},
			{Worker: "w2", N: 30, Op: acquire, Key: b, Token: 31, Call: 2011, Return: 2020, Outcome: ok, Revision: 31},
			{Worker: "w2", N: 31, Op: read, Key: register, Token: 31, Call: 2021, Return: 2030, Outcome: ok, Revision: 34},
			{Worker: "w3", N: 10, Op: acquire, Key: c, Token: 32, Call: 2021, Return: 2050, Outcome: ok, Revision: 35},
			{Worker: "w4", N: 1, Op: acquire, Key: d, Token: 33, Call: 2031, Return: 2060, Outcome: ok, Revision: 35},
			{Worker: "w3", N: 11, Op: write, Key: register, Token: 32, Call: 2061, Return: 2070, Outcome: ok, Revision: 36, Value: value},
			{Worker: "w4", N: 2, Op: commit, Key: semaphore.counter(), Token: 33, Call: 2071, Return: 2080, Outcome: ok, Revision: 37, Value: "0 w4.2 33"},
		},
	}
}

// goodElection: w1 leads and proclaims, then w2 does, and w3 looks on.
func goodElection() *evidence {
	a, b, register := leadership.queue()+"a-X", leadership.queue()+"b-Y", leadership.registers()+"0"
	return &evidence{
		events: []event{
			{Revision: 40, Key: a, Value: "0 w1.40 0", Created: 40},
			{Revision: 41, Key: b, Value: "0 w2.40 0", Created: 41},
			{Revision: 42, Key: a, Value: "0 w1.41 40", Created: 40},
			{Revision: 43, Key: register, Value: "0 w1.42 40", Created: 43},
			{Revision: 44, Key: a},
			{Revision: 45, Key: b, Value: "0 w2.41 41", Created: 41},
			{Revision: 46, Key: b},
		},
		ops: []op{
			{Worker: "w1", N: 40, Op: acquire, Key: a, Token: 40, Call: 3000, Return: 3010, Outcome: ok},
			{Worker: "w1", N: 41, Op: proclaim, Key: a, Token: 40, Call: 3011, Return: 3020, Outcome: ok, Value: "0 w1.41 40"},
			{Worker: "w1", N: 42, Op: write, Key: register, Token: 40, Call: 3021, Return: 3030, Outcome: ok, Revision: 43, Value: "0 w1.42 40"},
			{Worker: "w2", N: 40, Op: acquire, Key: b, Token: 41, Call: 3005, Return: 3040, Outcome: ok},
			{Worker: "w2", N: 41, Op: proclaim, Key: b, Token: 41, Call: 3041, Return: 3050, Outcome: ok, Value: "0 w2.41 41"},
			{Worker: "w3", N: 40, Op: observe, Key: a, Token: 40, Call: 3015, Return: 3015, Outcome: ok, Revision: 40, Value: "0 w1.40 0"},
			{Worker: "w3", N: 41, Op: observe, Key: a, Token: 40, Call: 3025, Return: 3025, Outcome: ok, Revision: 42, Value: "0 w1.41 40"},
			{Worker: "w3", N: 42, Op: observe, Key: b, Token: 41, Call: 3035, Return: 3035, Outcome: ok, Revision: 41, Value: "0 w2.40 0"},
			{Worker: "w3", N: 43, Op: observe, Key: leadership.queue(), Call: 3060, Return: 3060, Outcome: ok, Revision: 46},
			{Worker: "w3", N: 44, Op: current, Key: b, Token: 41, Call: 3051, Return: 3055, Outcome: ok, Revision: 45, Value: "0 w2.41 41"},
			{Worker: "w3", N: 45, Op: current, Key: leadership.queue(), Call: 3061, Return: 3065, Outcome: ok},
		},
	}
}

// without drops an event.
func (e *evidence) without(key string, revision int64) {
	e.events = slices.DeleteFunc(e.events, func(ev event) bool { return ev.Key == key && ev.Revision == revision })
}

func TestAWrongReaderOrWriterIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"a writer that does not wait for a reader", func(e *evidence) {
			e.without(rwmutex.queue()+"rb-0", 25)
			e.of("w3", 1).Revision = 24
		}, []string{byTurn, byAccepted}},
		{"a reader that does not wait for a writer", func(e *evidence) {
			e.of("w1", 23).Revision = 26
			e.of("w1", 24).Revision, e.of("w1", 24).Call, e.of("w1", 24).Return = 26, 1070, 1072
		}, []string{byTurn, byAccepted}},
		{"a reader that overtakes a writer", func(e *evidence) { e.of("w1", 23).Revision = 24 }, []string{byTurn, byOrder}},
		{"a read that etcd accepted when the entry was gone", func(e *evidence) { e.of("w1", 22).Revision = 24 }, []string{byAccepted}},
		{"a write under the token of a reader", func(e *evidence) {
			e.of("w1", 24).Op, e.of("w1", 24).Value, e.of("w1", 24).Revision = write, "0 w1.24 23", 28
			e.events = slices.Insert(e.events, slices.IndexFunc(e.events, func(ev event) bool { return ev.Revision == 28 }), event{28, rwmutex.registers() + "0", "0 w1.24 23", 26})
		}, []string{byAccepted}},
		{"a register that changes while it is read under one token", func(e *evidence) { e.of("w1", 22).Value = "0 w3.2 22" }, []string{byReads, byRegister}},
		{"an older reader that is accepted after a newer writer", func(e *evidence) {
			e.of("w1", 22).Call, e.of("w1", 22).Return, e.of("w1", 22).Value = 1091, 1100, "0 w3.2 22"
		}, []string{byReads, byRegister}},
		{"a writer that counts from an old count", func(e *evidence) {
			e.atKey(rwmutex.counter()).Value, e.of("w3", 3).Value = "2 w3.3 22", "2 w3.3 22"
		}, []string{byCount}},
		{"a token that is another worker's", func(e *evidence) { e.of("w2", 21).Worker = "w4" }, []string{byHolder}},
	})
}

func TestAWrongSemaphoreIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"more than the size", func(e *evidence) {
			e.without(semaphore.queue()+"b-0.2of4", 35)
			e.of("w3", 10).Revision, e.of("w4", 1).Revision = 36, 36
		}, []string{byTurn, byAccepted, byOrder, bySize}},
		{"one that overtakes one that takes more, though there is room", func(e *evidence) {
			e.of("w4", 1).Revision = 34
			e.of("w3", 10).Revision = 36
		}, []string{byTurn, byOrder}},
		{"one that writes without waiting to be told", func(e *evidence) {
			e.ops = append(e.ops, op{Worker: "w3", N: 12, Op: read, Key: semaphore.registers() + "0", Token: 32, Call: 2035, Return: 2040, Outcome: ok, Revision: 33})
		}, []string{byAccepted, bySize}},
		{"a Commit that leaves the entry there", func(e *evidence) { e.atKey(semaphore.counter()).Revision = 36; e.of("w4", 2).Revision = 36 }, []string{byAccepted}},
		{"nothing: one that is told at the revision of a Commit", func(e *evidence) {
			key := semaphore.queue() + "f-0.1of4"
			*e.at(36) = event{Revision: 36, Key: key, Created: 36}
			*e.of("w3", 11) = op{Worker: "w3", N: 11, Op: acquire, Key: key, Token: 36, Call: 2061, Return: 2090, Outcome: ok, Revision: 37}
		}, nil},
		{"a Commit that is lost", func(e *evidence) { e.without(semaphore.counter(), 37) }, []string{byAnswers}},
	})
}

func TestAWrongElectionIsFound(t *testing.T) {
	eachIsFound(t, []badHistory{
		{"a term with an older token than the one before", func(e *evidence) {
			e.of("w1", 40).Call, e.of("w1", 40).Return = 3070, 3080
		}, []string{byTokens}},
		{"a write after the term", func(e *evidence) { e.atKey(leadership.registers() + "0").Revision = 44; e.of("w1", 42).Revision = 44 }, []string{byAccepted}},
		{"a proclamation before the term", func(e *evidence) { e.at(45).Revision = 43 }, []string{byAccepted, byLeader}},
		{"two leaders for a token", func(e *evidence) {
			e.ops = append(e.ops, op{Worker: "w4", N: 40, Op: acquire, Key: e.of("w1", 40).Key, Token: 40, Call: 3000, Return: 3010, Outcome: ok})
		}, []string{byTokens, byHolder}},
		{"a value that no leader proclaimed", func(e *evidence) { e.of("w3", 41).Value = "0 w1.49 40" }, []string{byLeader}},
		{"a refused proclamation that happened", func(e *evidence) { e.of("w1", 41).Outcome = fail }, []string{byAnswers}},
		{"a candidate that is shown as the leader", func(e *evidence) { e.at(45).Revision = 44 }, []string{byLeader}},
		{"a vacancy while there is a leader", func(e *evidence) { e.of("w3", 43).Revision = 45 }, []string{byLeader}},
		{"an observer that goes back", func(e *evidence) { *e.of("w3", 42), *e.of("w3", 41) = *e.of("w3", 41), *e.of("w3", 42) }, []string{byObserver}},
		{"an observer that goes back to an older value", func(e *evidence) { *e.of("w3", 40), *e.of("w3", 41) = *e.of("w3", 41), *e.of("w3", 40) }, []string{byObserver}},
		{"an observer that shows a term that is over", func(e *evidence) {
			late := *e.of("w3", 42)
			late.N = 46
			e.ops = append(e.ops, late)
		}, []string{byObserver}},
		{"a current leader that is not", func(e *evidence) {
			o := e.of("w3", 44)
			o.Key, o.Token, o.Revision, o.Value = e.of("w1", 40).Key, 40, 42, "0 w1.41 40"
		}, []string{byCurrent}},
	})
}
