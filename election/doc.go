// Package election elects a leader among processes, and says in time when it is one no longer.
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
//   - At most one term at a time, as etcd sees it: a term is a key that is the oldest of the
//     election's, and Proclaim, Txn and Guard write only while it is there.
//   - Candidates are elected in the order in which they came.
//   - A term is never won by a candidate whose lease has ended while it waited.
//   - Done is closed before the lease can expire and etcd elect another candidate, as long as this
//     process runs and clocks tick alike. A client that revokes the lease or deletes the key is quicker
//     than that: a leader that has led for a second is told within one event of a watch on its key; one
//     that has not is told then, or by what it writes.
//   - When the etcd client is closed, terms are lost and calls return with ErrClosed, at once.
//   - Tokens increase with each term. The receiver of what a leader writes can refuse an older one.
//   - Observe never shows an older leader after a newer one, whatever it missed: a compaction, a
//     disconnection, a slow reader. (A restored backup is another history.)
//
// The keys are those of clientv3/concurrency's Election: both elect one leader together, and see
// the same one.
//
// # Limits
//
// As with any lease, a process that was paused and goes on may act for one step as the leader that
// it was: what it writes to etcd is safe with Txn or Guard, what it writes elsewhere where the
// receiver compares tokens, as package lock/fence does.
package election
