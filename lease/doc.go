// Package lease keeps leases alive that know their own deadline and say why they ended.
//
//	k := lease.NewKeeper(cli, nil)
//	defer k.Close()
//	l, err := k.Lease(ctx) // granted now, or shared with earlier callers
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
// A keepalive is sent every third of the TTL. When it is not answered within a ninth of the TTL, and
// within a second at most, the next endpoint is asked over a connection of its own, and so on, while
// the first may still answer. So another member is asked within a second, and within two if the
// client's own connection and the next one both lead to the silent member. For a grant it is half a
// second each: one silent member holds it up for a second at most, whatever the TTL. A member that
// refuses, or says that it has lost its leader, is replaced at once. With a TTL of 5 s or more a lease
// outlives the death, the pause or the silence of a member, and an election with etcd's default
// timeouts.
//
// A grant whose answer got lost is repeated with the same id, chosen here, so that it cannot
// leave a second lease behind. What may have been granted and is not wanted is revoked; what was
// never sent to a member is not. When the next lease is granted, one that was lost is revoked as
// well if etcd may still have it, so that stale keys do not block others; unless room was ever
// reserved on it: users of Reserve move their keys.
//
// A user that is refused is not tried again: the lease ends as ErrUnauthorised with the keepalive
// that is refused. When the members refuse the client's certificate, the error is ErrCertificate as
// well as ErrUnreachable.
//
// When the etcd client is closed, its leases end at once as ErrClosed, and every call returns
// ErrClosed at once. Nothing renews them over other connections.
//
// # In an outage
//
// While no member can be reached, nothing is tried: all Keepers and other handles of one client wait
// for one prober, which makes at most 2 connections a second (for a client of client.Dial; for
// another one gRPC's own come on top), and go on within 3 s after a member is back, as a rule within
// one for a client of client.Dial. 240 handles that wait on one client take less than 5 % of a core
// (internal/matrix tests it). Lease and Reserve wait as long as their ctx lets them; TryLease waits 2 s
// at most, and not at all while it is known that no member can be reached. Close
// takes at most 2 s, also for many handles one after another; Shutdown has a bound of the caller's.
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
// # Leases of other processes
//
// Renew renews any lease once. Follow tells what remains of any lease, and how it ended.
//
// # Testing
//
// The deadlines and the order of tries are tested with testing/synctest, faults against real
// members that are killed, paused, blackholed and isolated.
package lease
