package safety_test

import "strings"

// prefix is what all keys begin with.
const prefix = "safety/"

// subject is one of the things that are tested: a name that workers contend for, and what
// they read and write under its guard, or in the unfenced arm without.
type subject string

// Subjects.
const (
	mutex      subject = "mutex"
	rwmutex    subject = "rwmutex"
	semaphore  subject = "semaphore" // of size
	leadership subject = "election"
)

// size is the size of the Semaphore, and most how much one worker takes at most.
const size, most = 4, 3

// subjects are those of the fenced arm. exclusive are those whose writers are alone.
var (
	subjects  = []subject{mutex, rwmutex, semaphore, leadership}
	exclusive = []subject{mutex, rwmutex, leadership}
)

// open is the one of the unfenced arm.
func (s subject) open() subject { return "open-" + s }

func (s subject) name() string { return prefix + string(s) }

// queue is what the keys of its entries begin with.
func (s subject) queue() string { return s.name() + "/" }

// counter is written by Commit, in the unfenced arm by Put.
func (s subject) counter() string { return s.name() + "-counter" }

// registers are read and written by Txn; there are several, one after another.
func (s subject) registers() string { return s.name() + "-register/" }

// protects tells whether a key is read and written under it.
func (s subject) protects(key string) bool {
	return key == s.counter() || strings.HasPrefix(key, s.registers())
}

// of is the subject of a key.
func of(key string) subject {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	return subject(strings.TrimSuffix(strings.TrimSuffix(name, "-counter"), "-register"))
}

func (s subject) isOpen() bool { return strings.HasPrefix(string(s), "open-") }
