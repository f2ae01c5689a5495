// Package doctor says in what state a running etcd cluster is, and what is wrong with it. It is for every
// etcd from 3.4 on, wherever it runs.
//
//	c, err := doctor.Status(ctx, cli, nil)
//	if err != nil {
//		return err // no member answered
//	}
//	fmt.Println(c.CanLose, c.Degraded(), c.Reasons())
//
//	report, err := doctor.Examine(ctx, cli, nil)
//	for _, f := range report.Findings {
//		fmt.Println(f.Severity, f.ID, f.What, f.Do)
//	}
//
// # What it asks
//
// Status asks each member for its own view, over a connection to this member alone, all at the same time. Each has
// [Options.Timeout], 2 s by default, so that silent members cost 2 s in all and are reported as not
// reachable. It works without a quorum: a member answers both requests (the list of members, and its status)
// by itself. A member is asked at the client URLs that it advertises and, as these may be meant for another network,
// at the endpoints of the client, too.
//
// Cause takes Status, too, for a program whose requests get no answer: it says in an error whether the quorum is lost, and
// which members do not answer.
//
// Examine takes Status, waits for [Options.Wait], and takes it again, so that it can tell a member that is behind
// from one that was busy at one moment. In between it measures. It reads /metrics and /version at each member's client
// URL, where etcd usually serves them; a member that serves them elsewhere is examined without.
//
// Examine writes no key, and the revision of the cluster stays as it is. It grants a few short leases and revokes them:
// these are entries of the log as a Put is, so the time that they take is the time of a commit, and the lease that
// lives longest shows how fast the leader's clock runs. It is granted for Wait and 5 s. A lease whose revocation fails
// expires by itself after the time it was granted for.
//
// # What it promises
//
//   - Findings have a stable ID, and one finding is about one thing. What is fine has the severity OK. What could not
//     be measured is Info and says why, in a finding of its own or in one for several: "metrics" for the latencies of
//     a member, "not-measured" for all that needs a lease. Two things have no finding where there is nothing to judge:
//     the wall clocks if no member serves HTTP at its client URL, and a latency of which no member has an observation.
//   - Only a failure of the whole examination is an error: ErrUnreachable if no member answered, ErrDenied if those that
//     did refuse the user.
//   - Known faults of server versions are in a table, [Advisories], with the sources. No version in it is a guess.
//   - Nothing depends on the wall clock, except the finding about the members' wall clocks.
//
// # Limits
//
// What a member says of itself is believed. A cluster is judged from where the program runs: a member that this machine
// cannot reach counts as unreachable though its peers may reach it. Clock rates are compared to about half a per cent, which finds a
// virtual machine whose clock is broken and not a crystal that is a little off. Examine does not look at keys.
package doctor
