// Package registry registers services: the writing side. Package discovery reads.
//
//	reg, err := registry.Register(ctx, cli, registry.Instance{
//		Service: "web", ID: "node1", Addr: "10.0.0.7:8080", Version: "v1.4.2",
//	}, nil)
//	if err != nil {
//		return err
//	}
//	defer reg.Close() // says draining, then deletes
//	…
//	err = reg.Update(ctx, func(i *registry.Instance) { i.Weight = 5 })
//	…
//	err = reg.Leave(ctx, server.Shutdown) // says draining, lets consumers hear it, finishes requests, deletes
//
// An instance is one key, Prefix + Service + "/" + ID, on a lease that ends it when the process
// dies. Its value is the JSON that etcd's own naming package reads, so gRPC clients that use
// client/v3/naming/resolver find it as it is. Many instances of one process go through a
// Registrar: one worker, one lease for up to 1,000 keys (128 if etcd checks the user's rights, see
// lease.Options.Keys), transactions of up to 127.
//
// With Options.Checks an instance is shown as it is, not as it was when it started:
//
//	opts := &registry.Options{Checks: []health.Check{health.HTTP("/healthz")}, AwaitServing: true}
//
// The worse of the instance's Status and of what its checks found is written, with the check as
// the Reason and all results in Checks, whenever that changes and no more often. An instance that
// is draining or in maintenance stays so. Update and Instance have what was asked for, State has
// what consumers see: what a check found never becomes a part of what was asked for. See package health.
//
// # Guarantees
//
//   - A registration comes back by itself: after a lost or revoked lease, after its key was
//     deleted, after an outage of etcd. State says whether it is there, since when, and why it
//     was lost; one log line reports each change. Nothing that happens to the key is missed:
//     it is watched from its write on, and looked at whenever a watch broke, and every 30 s.
//   - It never overwrites the key of a live process: an ID that one has is refused with ErrExists, which
//     names its host and pid. The key of a process that is provably gone is taken over at once, in a transaction
//     that compares the revision that was read: consumers see a change, never a gap. The value's
//     "Process" proves it: it was written in this pid namespace since the last boot, and that pid is
//     not in use, or not by a process with that start time (Linux). In all other cases Register
//     waits for the lease to end, and the log and its error say for which process.
//   - After Close the key is gone and stays gone: one worker does all writing, so no
//     re-registration can overtake it. If that fails, its error says which keys are still in etcd,
//     and until when. A write that etcd never answered can still arrive late. Where Close revokes the lease,
//     as with a registrar's own Keeper, it fails; where the lease lives on, its key is deleted again at once if
//     it comes within a minute, and otherwise ends with the lease.
//   - Close takes 2 s at most while etcd cannot be reached, together with all other handles on the
//     same client. Shutdown has a bound of the caller's.
//   - When the etcd client is closed, its registrations end at once with ErrClosed; their keys end
//     with their leases. Close them before the client.
//   - A silent member costs about a second, at any TTL: a transaction without an answer is sent to
//     another one as well. While no member can be reached nothing is tried, and all handles on a
//     client go on when one is back.
//   - A user without the right to write gets ErrUnauthorised at once. When the right is
//     taken away later, etcd also refuses to renew the lease: the key goes within a TTL. Writes are
//     tried again every 5 s to 7 s, and the registration comes back once the right does.
//   - A status that an operator has set with an Override holds until it is taken back, through updates, lost
//     leases and restarts. See Operator.
//   - The first record says what the checks found, and with AwaitServing there is none before
//     the instance can serve. Close ends the checks before it says draining.
//
// # Limits
//
// Names have at most 200 bytes, values 64 KiB. The user must be allowed to read and write the
// key. More than 8 instances of one service and registrar are watched by their service's
// prefix: it then receives other processes' instances, too. Addresses are host:port that others can
// dial; a unix socket's path has to be in Raw.
//
// A take-over trusts the machine's boot id. Virtual machines that were cloned while they ran share
// it: give their instances IDs of their own.
//
// Checks run in this process: when it is stopped or gone, no check turns critical, and the lease
// ends. With a Raw value their results are in State, and AwaitServing works; the value has no room
// for them.
package registry
