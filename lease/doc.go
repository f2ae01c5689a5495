// Package lease keeps leases alive that know their own deadline and say why they ended.
//
//	k := lease.NewKeeper(cli, nil)
//	defer k.Close()
//	l, err := k.Lease(ctx) // granted now, or shared with whoever asked before
//	if err != nil {
//		return err
//	}
//	_, err = cli.Put(ctx, "services/web/1", "10.0.0.1:80", clientv3.WithLease(l.ID()))
//	…
//	<-l.Done()
//	log.Print(l.Err()) // lease: revoked: lease 694d8f2c11a3e0b7 is gone before its deadline
//	l, err = k.Lease(ctx) // another one
//
// # What it guarantees
//
// A Lease ends before etcd may delete its keys. Its deadline is counted from the moment at
// which the last answered keepalive was sent, not from the answer's arrival: etcd counts from
// some moment in between (server/lease/lessor.go, Renew). To that the TTL in the answer is
// added, and a margin is subtracted. The clock is CLOCK_BOOTTIME, which also runs while the
// machine is suspended; where there is none (outside Linux), Go's monotonic clock.
//
// Done is closed at the deadline at the latest, whatever the network does. It ends once: an
// answer that comes later does not bring the lease back, and the Keeper grants another one.
//
// A keepalive is sent every third of the TTL. When it is not answered within a ninth, the next
// endpoint is asked over a connection of its own, and so on, while the first may still answer;
// so another member is asked within a third of the TTL. A member that refuses, or says that
// it has lost its leader, is replaced at once. With a TTL of 5 s or more a lease outlives the
// death, the pause or the silence of a member, and an election with etcd's default timeouts.
//
// A grant whose answer got lost is repeated with the same id, chosen here, so that it cannot
// leave a second lease behind. What was perhaps granted and is not wanted is revoked. So is, when
// the next lease is granted, one that was lost while etcd may have it still, lest its keys stand in
// the way of others; unless room was ever reserved on it: who does that moves the keys.
//
// A user who is refused is not tried again: the lease ends as ErrUnauthorised at once.
//
// # Limits
//
// Deadlines hold as long as this machine's clock and the servers' run at the same rate, give
// or take the margin. A process that is stopped (SIGSTOP, a long pause of a virtual machine)
// is told late, when it goes on: what it writes then must be fenced. Err and Remaining read
// the clock and are right when they return, but not for longer.
//
// A revoked lease is noticed with the next keepalive's answer; Confirm asks for it now. A member that
// led, stood still for longer than a TTL and goes on can revoke what its successor has prolonged: etcd
// has it make sure that it leads still, but not if its clock has ticked since (3.7.3,
// EtcdServer.ensureLeadership).
//
// etcd restarts every TTL when its leader changes, so keys can outlive a lost lease for longer than
// the margin. After a Close while a grant was underway, a lease may be left for its TTL, if that grant
// arrives later than its revocation.
//
// Each lease costs one stream and three small messages a TTL. With a user and a password each
// new stream costs a password check as well, which clientv3 makes before opening one.
//
// # Testing
//
// The deadlines and the order of tries are tested with testing/synctest, faults against real
// members that are killed, paused, blackholed and isolated.
package lease
