// Package lock is a lock in etcd that is fair, fenced, and says in time when it is lost.
//
//	m := lock.New(cli, "jobs/nightly", nil)
//	defer m.Close()
//
//	h, err := m.Acquire(ctx, clientv3.OpGet("counter")) // waits its turn
//	if err != nil {
//		return err
//	}
//	next := increment(h.Reads()[0].Kvs) // read with the lock, at no cost
//	_, err = h.Commit(ctx, clientv3.OpPut("counter", next)) // writes and releases, or ErrLost
//
// or, where the work is not a transaction in etcd:
//
//	err := m.Do(ctx, func(ctx context.Context, h *lock.Hold) error {
//		return run(ctx, h.Token()) // ctx ends when the lock is lost
//	})
//
// RWMutex and Semaphore are the same for readers and writers, and for so many at a time.
//
// # Guarantees
//
//   - At most one hold of a name at a time, as etcd sees it: a hold is a key that is the oldest
//     of the name's, and Commit, Txn and Guard write only while it is there.
//   - In the order in which they came; of one process's goroutines, one at a time waits in etcd,
//     and the others behind it, in their order.
//   - Done is closed before the lease can expire and etcd give the lock to another client, as long
//     as this process runs and clocks tick alike: the deadline is counted from the sending of the
//     last answered keepalive. A client that revokes the lease or deletes the key is quicker:
//     the next one has the lock at once. A hold that has lasted for a second watches its key, and is
//     told within one event of that watch; a shorter one is told then, or by what it writes.
//   - When the etcd client is closed, holds are lost and calls return with ErrClosed, at once.
//   - A lock is never taken anew for a caller that believes it has it, or waits for it.
//   - Tokens increase with each hold of a name.
//   - An entry that no call needs any longer is removed in the background for as long as etcd may
//     have its lease, also after Close.
//   - Close takes 2 s at most when etcd cannot be reached, for all handles of a client together;
//     Shutdown has a bound of the caller's.
//
// Entries and List show holders and waiters, Stats counts, and Options.Logger says which holder a
// call waits for and why a hold was lost.
//
// The keys are those of clientv3/concurrency's Mutex and of "etcdctl lock": the three exclude one
// another on the same name. Do not use a name that begins with another one and a slash.
//
// Holders and waiters of a RWMutex or a Semaphore are in the same queue: in the order in which they
// came, readers together, a semaphore's as long as they fit.
//
// # Limits
//
// No lock can stop a process that was paused, and goes on, from doing what it was about to do: it
// is told as soon as it runs, which can be too late for one step. What such a step writes to etcd
// is safe with Commit or Guard; what it writes elsewhere is safe where the receiver compares
// tokens, which package lock/fence does for SQL databases and HTTP services.
package lock
