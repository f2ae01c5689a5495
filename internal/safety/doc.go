// Package safety is a test. Worker processes contend for a Mutex, an RWMutex, a Semaphore and an election
// while they, and etcd's leader, are paused and killed. Checks then compare what the workers say that
// they saw with what etcd says that happened.
//
// Each worker is the test binary executed again. It works on all four at the same time, on one lease, so
// that a pause hits it while it holds one of them and waits for another. Under each of the four it reads
// and writes a register with Txn. It ends its turn with a release or, where writers are alone, with a
// Commit that counts. It reads together with others, takes various parts of the Semaphore, campaigns by
// hand and with Run, proclaims, asks for the leader, and observes. Some guarded writes it sends once more
// after its hold has ended: a late write does not look at a clock. It writes what it does to stdout, one
// JSON line when an operation begins and one when it ends, with the times on CLOCK_MONOTONIC, which all
// processes of a machine share. An operation that began and did not end, or ended without an answer, is
// "info": it may have happened, or can still happen. A watch of everything that is written, opened before
// the first worker starts, is the truth with which the checks compare the history.
//
// An entry's turn begins when it exists and the older entries that still exist allow it. An exclusive
// entry needs that there are none; a reader, that there is no writer; one that takes a part of the
// Semaphore, that it fits beside the older ones, also those that wait, as no entry overtakes. The kind of
// an entry is read from its key, by code of this test. Then, for each of the four:
//
//   - a token is the create revision of an entry in the queue, of one holder, and larger than every
//     token whose Acquire or Campaign had returned before this one was called;
//   - a worker that was told that it holds had its turn, and so had all that came before it;
//   - what etcd accepted under a token, also a read, lies in that token's turn;
//   - an acknowledged write happened once, a refused one did not, and there were no other writes.
//
// And for some:
//
//   - the counter went up by one each time, to the number of increments that happened;
//   - what is read under one shared token never changes;
//   - the holders of the Semaphore together take its size at most;
//   - a leader that was reported was the oldest, with the value that it had campaigned with or
//     proclaimed; where no leader was reported, there was none; and Leader is not behind what was
//     acknowledged before;
//   - an observer never goes back to an older leader, to one whose term has ended, or to an older value;
//   - the register is linearizable, with tokens that never go back behind those of a newer writer
//     (porcupine). A register takes some 200 operations, and then the workers use another one.
//
// A run proves nothing if its faults had no effect, if little happened between them, or if etcd never had
// to refuse anything under each of the four. It also proves nothing if the same checks find nothing wrong
// with workers that hold the same under other names and write and read without the guard, one of them
// paused just before. Such a run is void, and fails with that word. How often more workers believe that
// they hold than may hold is counted and reported: no lock can prevent it.
//
// The moments and the victims come from a seed, which the test prints. ETCDKIT_TEST_SAFETY_SEED sets it.
// What the machine does meanwhile does not repeat. After a failure the history and the picture of a
// register that is not linearizable stay in a directory that the test names.
package safety
