// Package locks is the job that compares etcdkit's lock with clientv3/concurrency's Mutex and
// STM, redsync and go-zookeeper's Lock, with clientv3's Put as the floor.
//
// The work is that of the Adder and the Subtractor: clients change one counter, half of the times
// up and half of the times down, and in the end it must be 0. Each system is used as its own
// documentation says, with a TTL of 10 s (redsync's is 8 s by default), and keeps the counter in
// its own store. A history has how long each client waited, which one held the lock, and how many at once.
//
// A row is one file; a system is one file. What a system does not have, or what failed, is a cell
// that says so: no system ends the run.
package locks
