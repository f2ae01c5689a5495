// Package inventory tells what coordinates in a cluster: the leases, and the locks, elections and services that
// stand on them, under any prefix.
//
//	inv, err := inventory.Read(ctx, cli, nil)
//	if err != nil {
//		return err
//	}
//	for _, q := range inv.Locks {
//		fmt.Printf("lock %q: %v\n", q.Name, q.Entries)
//	}
//	for _, l := range inv.Leases {
//		fmt.Printf("lease %x ends in %v unless it is renewed: %v\n", int64(l.ID), l.Remaining, l.Keys)
//	}
//
// Everything that coordinates is attached to a lease: an entry of a lock, a candidate, an instance. There are few
// such keys compared with all keys. So Read lists the leases, asks for the keys of each, and reads these keys. A
// million plain keys cost nothing.
//
// # What it asks etcd
//
// One linearizable read and one list of leases, both of one member, so that a lease granted before the call is in the
// list. Then one request a lease, 16 at a time; the values of the keys, 64 a request; and a count for each lock and
// election, 64 a request. Where that is more than the keys on leases, the keys of the lock or election are read, 10,000 at
// the most: Inventory.Incomplete says where there are more. A request that one member does not answer within a second is made again, to another one.
//
// # What a key is
//
// Entries of locks and elections are recognised as package lock and package election do it, those of clientv3 and
// etcdctl included. An instance is recognised by its value: below registry.DefaultPrefix each value that
// registry.Decode accepts, elsewhere one that has an address. Every other key is Plain.
//
// # Permissions
//
// etcd refuses the list of leases to a user that may not read the key of any one of them. Read then reads the ranges
// that the user's roles permit, in pages, and keeps the keys that have a lease: Inventory.Ranges says which ranges.
//
// # Limits
//
// An inventory is no snapshot: the keys are those of one revision (where that is compacted meanwhile, they are read again
// at another one; five times in a row are an error), but leases are not part of etcd's history, and
// one can end while the inventory is read. Its keys are then missing, too.
package inventory
