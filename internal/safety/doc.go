// Package safety is a test: worker processes that contend for a lock while they, and etcd's
// leader, are stopped and killed, and checks of what they say they saw against what etcd says
// happened.
//
// Each worker is the test binary executed again. It increments a counter by Commit, and reads and
// writes a register with Txn. Some Commits it sends once more when their hold is over: what is
// late does not look at a clock. It says on stdout what it does, one JSON line when an operation
// begins and one when it ends, with the times on CLOCK_MONOTONIC, which all processes of a machine
// share. What was begun and did not end, or ended without an answer, is "info": it may have
// happened, or may yet. A watch of everything that is written, opened before the first worker, is
// the truth that the checks hold the history against:
//
//   - a token is the create revision of an entry in the queue, and larger than every token whose
//     Acquire had returned before this one was called;
//   - a write that etcd accepted under a token lies in that token's turn: after every older entry
//     was deleted, and before its own was;
//   - an acknowledged write happened once, a refused one did not, and nobody wrote anything else;
//   - the counter went up by one each time, to the number of increments that happened;
//   - the register is linearizable, with tokens that never go back (porcupine). A register takes
//     some 200 operations, and then the workers go on with another one.
//
// A run proves nothing if its faults had no effect, if little happened between them, or if the
// same increments under the same lock, but written without its guard, survive: then it is void,
// and fails with that word. That two workers believe at once that they hold the lock is counted
// and reported. No lock can prevent it.
//
// The moments and the victims come from a seed, which the test prints, and takes back in
// ETCDKIT_TEST_SAFETY_SEED. What the machine does meanwhile does not repeat. After a failure the
// history and the picture of a register that is not linearizable stay in a directory that the
// test names.
package safety
