// Package fence refuses late writes: a service that stores what holders of a lock write puts it
// before its writes, and a holder that was paused, lost the lock and goes on is turned away.
// (M. Kleppmann, "How to do distributed locking", 2016, calls it fencing.)
//
// In an SQL database (SQLite from 3.24, PostgreSQL from 9.5), in the transaction of the write:
//
//	var fences fence.Table // fences.Create makes it
//
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	defer tx.Rollback()
//	if err := fences.Check(ctx, tx, "jobs/nightly", token); err != nil {
//		return err // fence.ErrStale: a newer holder was here
//	}
//	… // read and write
//	return tx.Commit()
//
// In front of an HTTP service, and in its clients:
//
//	http.ListenAndServe(addr, fence.Handler(files, nil))
//
//	fence.SetHeader(req.Header, hold.Token())
//
// Tokens are of anything whose holds increase: lock.Mutex, the writers of lock.RWMutex, terms of
// election. Holds of a Semaphore, or of several readers, are valid side by side, and a fence would
// refuse all but the newest: it is not for them.
//
// # Guarantees
//
//   - What was accepted with a token comes before whatever is accepted with a larger one, and
//     after that nothing with the smaller one is accepted. An equal token is: it is the same hold.
//   - A Table holds that for transactions that commit, in all processes. Its row is locked from
//     Check to the end of the transaction, so another's Check waits and then compares with what
//     was committed. The isolation level does not matter for that: see Table.Check.
//   - A Handler holds it for the requests that it serves itself, while they are served: a newer
//     request waits until the older ones' handlers have returned, and their contexts end. See
//     Handler.
//   - A token below 1 is refused before anything is sent.
//
// # Pass the fence before you read
//
// A fence knows of a holder when it passes for the first time. If the next holder reads first, and
// the late write of the one before comes then, it is accepted, and the next holder's write, which
// is made from what it read, undoes it. So Check is the first statement of a transaction, before
// what is read for the write, and a GET for a later PUT has the token, too.
//
// # Limits
//
// A client that may send a token may send a large one, and shuts out all others: authenticate first.
//
// Tokens are revisions of one etcd cluster. Behind another one, or one that was restored from a
// backup, they begin lower and are all refused: restore with "etcdutl snapshot restore
// --bump-revision", or delete the rows.
//
// # Testing
//
// databases, a module of its own, tests Table with SQLite and PostgreSQL, so that no driver enters
// etcdkit's go.mod. Handler is tested here, with a holder that is a process and stands still.
package fence
