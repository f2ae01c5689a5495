// Package fence refuses late writes. A service that stores what the holders of a lock write checks their
// tokens with it: if a holder was paused, lost the lock and goes on, its write is refused.
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
//		return err // fence.ErrStale: a newer holder has written
//	}
//	… // read and write
//	return tx.Commit()
//
// In front of an HTTP service, and in its clients:
//
//	http.ListenAndServe(addr, fence.Handler(files, nil))
//
//	fence.SetToken(req.Header, hold.Token())
//
// Use it with holders whose tokens increase and of which one is valid at a time: of a lock.Mutex, the
// writers of a lock.RWMutex, and the terms of an election. Do not use it for a Semaphore or for readers:
// several of their holds are valid at once, and a fence would refuse all but the newest.
//
// # Guarantees
//
//   - What was accepted with a token comes before whatever is accepted with a larger one, and after that
//     nothing with the smaller token is accepted. An equal token is accepted: it is the same hold.
//   - A Table guarantees this for transactions that commit, in all processes. Its row is locked from Check
//     to the end of the transaction, so the Check of another transaction waits and then compares with what
//     was committed. The isolation level does not matter for that: see Table.Check.
//   - A Handler guarantees this for the requests that it serves itself: a newer request waits until the
//     older ones' handlers have returned, and their contexts end. See Handler.
//   - A token below 1 is refused before anything is sent.
//
// # Check the token before you read
//
// A fence knows of a holder from the holder's first check. Suppose that the next holder reads first, and
// that the late write of the holder before comes then: it is accepted, and the next holder's write, which
// is made from what it read, overwrites it. So Check is the first statement of a transaction, before what
// is read for the write, and a GET for a later PUT has the token, too.
//
// # Limits
//
// A client that may send a token can send a large one, and so keep out all others: authenticate first.
//
// Tokens are revisions of one etcd cluster. After a change to another cluster, or to one that was restored
// from a backup, they begin lower and are all refused: restore with "etcdutl snapshot restore
// --bump-revision", or delete the rows.
//
// # Testing
//
// The module lock/fence/databases tests Table with SQLite and PostgreSQL, so that no driver is in etcdkit's go.mod.
// Handler is tested here, with a holder that is a process and is paused.
package fence
