// Package safety is a test: worker processes that contend for a Mutex, an RWMutex, a Semaphore and
// an election while they, and etcd's leader, are stopped and killed, and checks of what they say
// they saw against what etcd says happened.
//
// Each worker is the test binary executed again. It works on all four side by side, on one lease,
// so that whoever stops it while it holds one stops it while it waits for another. Under each it
// reads and writes a register with Txn, and ends its turn with a release or with Commit, which
// counts where writers are alone; it reads together with others, takes various parts of the
// Semaphore, campaigns by hand and with Run, proclaims, asks who leads, and observes. Some guarded
// writes it sends once more when their hold is over: what is late does not look at a clock. It says
// on stdout what it does, one JSON line when an operation begins and one when it ends, with the times
// on CLOCK_MONOTONIC, which all processes of a machine share. What was begun and did not end, or
// ended without an answer, is "info": it may have happened, or may yet. A watch of everything that is
// written, opened before the first worker, is the truth that the checks hold the history against.
//
// An entry's turn begins when it is there and the older ones that are still there let it: for one
// that excludes, none; for a reader, no writer; for one that takes part of the size, as many as fit
// in beside it, and beside those that wait, as nobody overtakes. The kind of an entry is read from
// its key, by code of this test's own. Then, of each of the four:
//
//   - a token is the create revision of an entry in the queue, one holder's, and larger than every
//     token whose Acquire or Campaign had returned before this one was called;
//   - who was told that it holds had its turn, and so had everybody who had come before;
//   - what etcd accepted under a token, a read included, lies in that token's turn;
//   - an acknowledged write happened once, a refused one did not, and nobody wrote anything else.
//
// And of some:
//
//   - the counter went up by one each time, to the number of increments that happened;
//   - what is read under one token that shares never changes;
//   - what is taken of the Semaphore by those who were told that they hold is its size at most;
//   - who is said to lead was the oldest with the value that it had campaigned with or proclaimed,
//     nobody was where nobody is said to, and Current is not behind what was acknowledged before;
//   - an observer never goes back to an older leader, one that is over, or an older value;
//   - the register is linearizable, with tokens that never go back behind a newer writer's
//     (porcupine). A register takes some 200 operations, and then the workers go on with another one.
//
// A run proves nothing if its faults had no effect, if little happened between them, if etcd never
// had to refuse anything under each of the four, or if the same checks find nothing wrong with
// workers that hold the same under other names and write and read without the guard, one of them
// stopped just before: then it is void, and fails with that word. That more than may hold believe at
// once that they do is counted and reported. No lock can prevent it.
//
// The moments and the victims come from a seed, which the test prints, and takes back in
// ETCDKIT_TEST_SAFETY_SEED. What the machine does meanwhile does not repeat. After a failure the
// history and the picture of a register that is not linearizable stay in a directory that the
// test names.
package safety
