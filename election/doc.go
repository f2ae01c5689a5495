// Package election elects one of several processes as the leader, and tells it in time when it is the
// leader no longer.
//
//	e := election.New(cli, "jobs/scheduler", nil)
//	defer e.Close()
//
//	err := e.Run(ctx, hostname, func(ctx context.Context, t *election.Term) error {
//		return schedule(ctx, t.Token()) // ctx ends when the term does
//	})
//
// or, by hand:
//
//	t, err := e.Campaign(ctx, hostname) // waits until it is elected
//	…
//	err = t.Resign(ctx)
//
// and, in any process:
//
//	for l, err := range e.Observe(ctx) { // now, and at each change; l.Vacant when there is none
//
// # Guarantees
//
//   - In etcd at most one term exists at a time. A term is the oldest key of the election, and Proclaim,
//     Txn and Guard write only while that key exists.
//   - Candidates are elected in the order in which they came.
//   - A candidate whose lease ended while it waited is never elected.
//   - Done is closed before the lease can expire and etcd can elect another candidate, as long as this
//     process runs and clocks tick alike. If a client revokes the lease or deletes the key, the next
//     candidate is elected at once. A leader that has led for a second learns of this within one event
//     of a watch on its key; another one learns of it after its first second, or by what it writes.
//   - When the etcd client is closed, terms are lost and calls return ErrClosed, at once.
//   - Tokens increase with each term. The receiver of what a leader writes can refuse an older one.
//   - Observe never shows an older leader after a newer one, whatever it missed: a compaction, a
//     disconnection, a slow reader. (A restored backup is another history.)
//
// The keys are those of clientv3/concurrency's Election: both elect one leader together, and see
// the same one. Do not use a name that begins with another name and a slash.
//
// # Limits
//
// As with any lease, a process that was paused and goes on can act for one step as if it still led. What
// it writes to etcd is safe with Txn or Guard. What it writes elsewhere is safe where the receiver
// compares tokens, as package lock/fence does.
package election
