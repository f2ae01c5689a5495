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
// Every runs a job once per period in a whole fleet. An RWMutex is for readers and writers, and a Semaphore
// lets up to N holders in at a time.
//
// # Guarantees
//
//   - In etcd at most one hold of a name exists at a time. A hold is the oldest key of the name's queue,
//     and Commit, Txn and Guard write only while that key exists.
//   - Holders come in the order of their entries in etcd. Of the calls of one Mutex one waits in etcd, and
//     the others wait behind it in this process, in their order.
//   - Done is closed before the lease can expire and etcd can give the lock to another client, as long
//     as this process runs and clocks tick alike: the deadline counts from the moment at which the last
//     answered keepalive was sent. If a client revokes the lease or deletes the key, the next holder has
//     the lock at once. A hold that has lasted for a second watches its key, and learns of this within
//     one event of that watch; a shorter one learns of it after its first second, or by what it writes.
//   - When the etcd client is closed, holds are lost and calls return ErrClosed, at once.
//   - A lock is never acquired again for a caller that believes that it holds it, or waits for it.
//   - Tokens increase with each hold of a name.
//   - An entry that no call needs any longer is removed in the background for as long as etcd may
//     have its lease, also after Close.
//   - Close takes 2 s at most when etcd cannot be reached, for all handles of a client together.
//     Shutdown has the caller's bound.
//
// Entries and List show holders and waiters, Stats counts, and Options.Logger says which holder a
// call waits for and why a hold was lost.
//
// The keys are those of clientv3/concurrency's Mutex and of "etcdctl lock": all three exclude one
// another on the same name. Do not use a name that begins with another name and a slash.
//
// The holders and waiters of an RWMutex or a Semaphore are in the same queue, in the order in which they
// came. Readers hold the lock together, and holders of a semaphore as long as they fit.
//
// # Limits
//
// No lock can stop a process that was paused and goes on from taking its next step. The process learns
// of the loss as soon as it runs, which can be too late for one step. What such a step writes to etcd
// is safe with Commit or Guard. What it writes elsewhere is safe where the receiver compares tokens:
// package lock/fence does that for SQL databases and HTTP services.
package lock
