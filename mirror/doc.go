// Package mirror keeps a copy of a key prefix in memory that is complete and in order, and says how old
// it can be.
//
//	m, err := mirror.Open(ctx, cli, "config/", nil) // returns with the first complete copy
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//
//	kv, ok := m.Get("config/timeout")        // newest; no lock, no allocation, no request
//	s := m.Snapshot()                        // everything at one revision; O(1), never changes
//	for kv := range s.WithPrefix("config/web/") { // their keys in order
//		…
//	}
//	for b, err := range m.Changes(ctx, nil) { // what happens from now on
//		if err != nil {
//			return err
//		}
//		…                                    // b.Changes, and b.Snapshot after them
//	}
//
// Reads may be behind etcd. After a write of one's own, Wait makes the copy catch up with it.
// State says how old the copy can be at most.
//
// Mirrors of one client with the same prefix and equal options share one copy, one watch and one
// confirmation every 2 s: a thousand of them send what one sends. Closing one does not affect the
// others, and a slow reader of Changes does not hold up other readers.
//
// # Guarantees
//
//   - A snapshot is the prefix exactly as it was at its revision. A transaction is in it as a
//     whole or not at all.
//   - Snapshots and batches go forward only, and there is no gap between them. Where etcd has
//     compacted away what was not seen yet, the prefix is read again and the difference comes
//     as Synthesised puts and deletes.
//   - A copy that etcd has not confirmed for 2 × ConfirmEvery + WatchTimeout (4.5 s) is stale, and one
//     that is known to miss something is at once; State says so, since when, and why. A
//     confirmation is a linearizable read, and then the watch has to say that it has come as far:
//     a member that was cut off cannot give it.
//   - A watch that owes events for longer than WatchTimeout, and delivers none, is replaced by one on
//     another member. What it may take grows to eight times WatchTimeout while that does not help.
//   - The copy catches up with a revision of any size and with a backlog of any length. Where
//     reading the prefix is cheaper than what a watch would have to deliver (more than 1,000
//     revisions, and one for each 16 keys; twice as many after each reading that did not help), and
//     after three watches in a row that delivered nothing, the mirror reads the prefix again. The
//     reason in State is Behind.
//   - When the client is closed the mirror ends at once, with ErrClosed.
//   - A history that was replaced below the mirror (wiped database, restored backup, another
//     cluster) is read again, counted in State, and marked by the Epoch of snapshots.
//   - Memory: the keys and values and at most as much again; a reader of Changes costs its Buffer
//     and the snapshot that it saw last, however slow it is. A watch that resumes can receive up to
//     1,000 transactions in one message, or 2 MB where the copy has at most 1,000 keys of 8 KiB or
//     more on average: etcd cuts larger messages on request, but that costs it n² of the events in
//     one.
//
// # How a replaced history is found
//
// The ID of the cluster is compared in every answer. A linearizable read below a revision that
// was already seen is one sign; so is an event that does not follow from the copy: each put has
// to carry on the key's version and create revision, each delete needs a key. And before a new
// watch is believed, and at each confirmation, the entry that changed last is read as of the
// copy's revision and has to be what it was.
//
// # Limits
//
// A snapshot of etcd's restored under the same cluster ID is not recognised if it agrees with
// the copy on that entry and has passed the copy's revision by the time the mirror is connected
// again. Restore with etcdutl's --bump-revision and --mark-compacted, as etcd advises.
//
// Time is counted on Go's monotonic clock, which stands still while the machine is suspended.
//
// The client must be clientv3's own: with the watcher of its namespace package Open fails with
// ErrInvalid. A whole prefix is held twice for the moment of reading it again.
package mirror
