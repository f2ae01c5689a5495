// Package queue is the fair queue below locks and elections: the keys under a name, in the order in
// which they were created. The oldest entry has the turn.
//
// It has the layout of clientv3/concurrency and of "etcdctl lock", so all of them wait for one another
// on the same name. Unlike theirs, each acquisition has an entry of its own, NAME/LEASE-SLOT, so two
// goroutines on one lease exclude one another, too. An acquisition is known by its key and create
// revision, and by a nonce in the value where an answer got lost. Slots are small numbers that are used
// again: fresh names would stay in the server's index until the next compaction, and every read would
// walk them.
//
// Waiting costs no requests as a rule. All entries of one client in one queue share a view of it, with
// one watch on all deletions, which stays open between acquisitions. The entries ahead were in the
// answer to an entry's own transaction, and when all of them are deleted it has its turn. An entry with
// many ahead knows only the last few. When the one just before it is deleted, it takes over what that
// one knew if it is of the same client, and reads the queue otherwise. A few entries that are far from
// their turn watch only their own keys and those just before them, so that a turn wakes one client and
// not all. What the caller wants to read is watched, too: a transaction that writes it and ends the turn
// before reports both. No watch begins at a past revision: the server would look at it every 100 ms only.
//
// The key of a hold that is older than a second is watched: when it is deleted, also with its lease, the
// hold ends at once. Once the watch is open, the write of when the hold began, or a read, shows whether
// the key was deleted before.
//
// Watches can fall silent without an end. So each client asks the members that serve its watches every
// 2 s, with one progress request on each stream (as a rule one), whether they are there. A watch that
// says nothing for 1.5 s is opened again on another stream, which leads to another member, and what was
// missed is settled by comparing revisions, with one read for all entries of a view.
package queue
