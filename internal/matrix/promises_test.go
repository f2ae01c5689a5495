package matrix_test

import (
	"slices"
	"time"
)

// How long tests of columns do what they do.
const (
	shortTTL  = 5 * time.Second
	pauseTime = 8 * time.Second // of all members: longer than shortTTL
	outageTTL = 20 * time.Second
	authTTL   = 15 * time.Second
	closedTTL = 60 * time.Second
	tokenTTL  = 3 * time.Second
	downTime  = 9 * time.Second // of all members: shorter than outageTTL
)

const ms = time.Millisecond

// parts are the table: every cell of the matrix stands here and nowhere else.
func parts() []part {
	return []part{
		{"Something is taken away", []*situation{&clientClosed, &keyDeleted, &leaseRevoked, &roleRevoked}},
		{"etcd fails", []*situation{&paused, &restarted, &silent5s, &silent60s, &silent5m, &blackholed, &noSpaceLeft}},
		{"The process and its calls", []*situation{&callCancelled, &closedInOutage, &closedTwice, &stopped, &idle, &churned}},
		{"Names and credentials", []*situation{&shortTokens, &certRotated, &certExpired, &oddNames}},
	}
}

var clientClosed = situation{
	name: "The client is closed", short: "client closed", test: "TestAClosedClientEndsWhatUsesIt",
	how: "`cli.Close()` is called while the handle is in use. The handle is told, and each call that is made afterwards on the same client returns as fast. Handles have a Keeper and a client each, or share both. Nothing renews the lease from then on.",
	promises: []promise{
		{rows: holds, outcome: ends, within: 100 * ms, err: lockLost, left: untilExpiry},
		{rows: waiters, outcome: ends, within: 100 * ms, err: lockClosed, left: expired},
		{rows: term, outcome: ends, within: 100 * ms, err: termLost, left: untilExpiry},
		{rows: candidate, outcome: ends, within: 100 * ms, err: electionClosed, left: expired},
		{rows: observer, outcome: ends, within: 100 * ms, err: electionClosed},
		{rows: registers, outcome: ends, within: 100 * ms, err: registryClosed, left: untilExpiry},
		{rows: keeper, outcome: ends, within: 100 * ms, err: leaseClosed, left: untilExpiry},
		{rows: copies, outcome: ends, within: 100 * ms, err: mirrorClosed, note: "what it has can still be read"},
		{rows: resolver, outcome: ends, within: 100 * ms, note: "RPCs fail with `codes.Unavailable` and say so"},
		{rows: transport, outcome: ends, within: 100 * ms, err: transportClosed},
	},
}

var keyDeleted = situation{
	name: "Its key is deleted by hand", short: "key deleted", test: "TestADeletedKeyIsReported",
	how: "Another client deletes the key on which the handle stands, or which it shows. The hold or term is older than 1 s.",
	promises: []promise{
		{rows: queued, outcome: ends, within: 250 * ms, err: lockLost, left: nothing},
		{rows: elected, outcome: ends, within: 250 * ms, err: termLost, left: nothing},
		{rows: registers, outcome: back, within: time.Second, left: itsKey},
		{rows: keeper, not: "a Keeper has no key of its own"},
		{rows: reading, outcome: shows, within: 250 * ms},
	},
}

var leaseRevoked = situation{
	name: "Its lease is revoked", short: "lease revoked", test: "TestARevokedLeaseIsReported",
	how: "Another client revokes the lease of that key.",
	promises: []promise{
		{rows: queued, outcome: ends, within: 250 * ms, err: lockLost, left: nothing},
		{rows: elected, outcome: ends, within: 250 * ms, err: termLost, left: nothing},
		{rows: registers, outcome: back, within: time.Second, left: itsKey},
		{rows: keeper, outcome: ends, within: shortTTL/3 + time.Second, err: leaseGone, left: nothing, note: "by the next keepalive: a lease without a key cannot be watched; TTL/3 and 1 s"},
		{rows: reading, outcome: shows, within: 250 * ms},
	},
}

var roleRevoked = situation{
	name: "Its user's role is revoked", short: "role revoked", test: "TestARevokedRoleIsReportedWithoutSpinning",
	how: "Authentication is on. The role that lets the user read and write there is taken away while the handle is in use, and given back later. Meanwhile all rows share a client, and make no more than 3 requests a second each, on average.",
	promises: []promise{
		{rows: holds, outcome: ends, within: authTTL, err: lockLost, rate: 3, note: "etcd refuses to renew the lease"},
		{rows: slices.Concat(waiters, candidate), outcome: ends, within: authTTL, rate: 3, note: "with `rpctypes.ErrPermissionDenied`, or with ErrLost if the lease is refused first"},
		{rows: term, outcome: ends, within: authTTL, err: termLost, rate: 3},
		{rows: keeper, outcome: ends, within: authTTL, rate: 3, note: "with `lease.ErrUnauthorised`; if etcd, busy with checking passwords, does not say so in time, with `lease.ErrUnreachable`"},
		{rows: registers, outcome: back, within: 20 * time.Second, rate: 3, note: "once the role is given back"},
		{rows: observer, outcome: back, within: 20 * time.Second, rate: 3, note: "once the role is given back"},
		{rows: copies, outcome: back, within: 20 * time.Second, rate: 3, note: "stale until the role is given back"},
		{rows: requests, outcome: back, within: 20 * time.Second, rate: 3, note: "requests go on to the last list"},
	},
}

var paused = situation{
	name: "etcd is paused", short: "etcd paused", test: "TestAPausedClusterIsSurvivedOrReported",
	how: "All three members get SIGSTOP for " + pauseTime.String() + ", longer than the TTL of " + shortTTL.String() + ", and then go on.",
	promises: []promise{
		{rows: queued, outcome: ends, within: shortTTL, err: lockLost, left: expired, note: "before its lease can expire"},
		{rows: elected, outcome: ends, within: shortTTL, err: termLost, left: expired, note: "before its lease can expire"},
		{rows: keeper, outcome: ends, within: shortTTL, err: unreachable, left: expired},
		{rows: registers, outcome: back, within: 3 * time.Second, left: itsKey},
		{rows: observer, outcome: back, within: 3 * time.Second},
		{rows: copies, outcome: back, within: 3 * time.Second, note: "it says that it is stale after 4.5 s"},
		{rows: requests, outcome: back, within: 3 * time.Second, note: "requests go on to the last list meanwhile"},
	},
}

var restarted = situation{
	name: "All members are killed and restarted", short: "all killed, restarted", test: "TestARestartWithinTheTTLIsSurvived",
	how: "All three members get SIGKILL and are started again after " + downTime.String() + "; the TTL is " + outageTTL.String() + ". The dials of each client, which clientv3.New has made, are counted from 2 s of the outage on: 2 a second at the most, on average, for one handle and for 240 on one client, which take no more than 5 % of a core (TestAnOutageIsNotAnsweredWithAStorm, which does the same with paused members).",
	promises: []promise{
		{rows: slices.Concat(queued, elected, keeper), outcome: stays, rate: 2, left: itsKey},
		{rows: registers, outcome: stays, rate: 2, left: itsKey, note: "the key stands all the time"},
		{rows: observer, outcome: back, within: 3 * time.Second, rate: 2},
		{rows: copies, outcome: back, within: 3 * time.Second, rate: 2, note: "stale meanwhile"},
		{rows: requests, outcome: back, within: 3 * time.Second, rate: 2, note: "requests go on to the last list meanwhile"},
	},
}

func oneSilent(ttl time.Duration, test, silence, long string) situation {
	return situation{
		name: "One follower is silent, TTL " + text(ttl), short: "one silent, TTL " + text(ttl), test: test, long: long,
		how: "One follower is blackholed (silent, nothing is reset) for " + silence + ", and after it has healed paused, with a TTL of " + text(ttl) + ". The clients are connected to it when it happens. Handles that are in use stay; new ones open within the time.",
		promises: []promise{
			{rows: writing, outcome: opens, within: 3 * time.Second},
			{rows: reading, outcome: opens, within: 8 * time.Second, note: "a first copy that the silent member owes is asked for at the next one after 5 s"},
		},
	}
}

var (
	silent5s  = oneSilent(5*time.Second, "TestASilentFollowerDelaysNothingTTL5s", "7 s", "")
	silent60s = oneSilent(time.Minute, "TestASilentFollowerDelaysNothingTTL60s", "2 s", "for 45 s (2 s otherwise)")
	silent5m  = oneSilent(5*time.Minute, "TestASilentFollowerDelaysNothingTTL5m", "2 s", "")
)

var blackholed = situation{
	name: "Every endpoint is silent", short: "every endpoint silent", test: "TestCallsIntoSilenceEndWithTheirDeadline",
	how: "No endpoint answers the client, and nothing is reset. Each call of the row has a deadline 1 s ahead: it returns by its deadline and the time, and the error names the endpoint and the cause.",
	promises: []promise{
		{rows: every, outcome: returns, within: 100 * ms, err: deadline},
	},
}

var noSpaceLeft = situation{
	name: "etcd has no space left", short: "no space", test: "TestWithoutSpaceCallsSaySoAndHandlesStay",
	how: "A member with a small quota raises its NOSPACE alarm. Handles stay, for longer than their TTL. Calls that write end with the error when their context does. After compaction, defragmentation and disarming everything works.",
	promises: []promise{
		{rows: slices.Concat(queued, elected, registers, keeper), outcome: stays, err: noSpace, left: itsKey},
		{rows: reading, outcome: stays, note: "reading needs no space"},
	},
}

var callCancelled = situation{
	name: "The context is cancelled during the call", short: "call cancelled", test: "TestACancelledCallReturnsAndLeavesNothing",
	how: "etcd carries out what it is asked, and its answers are lost. The context of the call is cancelled: it returns within the time. Then etcd answers again.",
	promises: []promise{
		{rows: writing, outcome: returns, within: 100 * ms, err: cancelled, left: expired},
		{rows: reading, outcome: returns, within: 100 * ms, err: cancelled},
	},
}

var closedInOutage = situation{
	name: "Close during an outage", short: "Close in an outage", test: "TestCloseDuringAnOutageIsShort",
	how: "All members are killed, or paused, and the handle is closed. TestAProcessLeavesWithinTwoSeconds ends the context of a Do and of a Run, and closes a lock, an election, a registration and a view of the same client one after another: together they take no longer. (Release and Resign with a context that has no end take 10 s at the most.)",
	promises: []promise{
		{rows: writing, outcome: closes, within: 2 * time.Second, left: untilExpiry},
		{rows: reading, outcome: closes, within: 2 * time.Second},
	},
}

var closedTwice = situation{
	name: "Close is called twice", short: "Close twice", test: "TestClosingTwiceIsClosingOnce",
	how: "Close is called three times, two of them at the same time. Each returns within the time and without an error. Handles have a Keeper and a client each, or share both. The TTL is " + text(closedTTL) + ", so that nothing is gone by expiry.",
	promises: []promise{
		{rows: writing, outcome: closes, within: time.Second, left: nothing},
		{rows: reading, outcome: closes, within: time.Second},
	},
}

var stopped = situation{
	name: "The process is stopped past the TTL", short: "process stopped", test: "TestAProcessThatStoodStillIsInformedWhenItGoesOn",
	how: "A process with all rows gets SIGSTOP until its leases have expired in etcd, and then SIGCONT. A waiter must not get its turn, although it came meanwhile.",
	promises: []promise{
		{rows: queued, outcome: ends, within: time.Second, err: lockLost, left: nothing},
		{rows: elected, outcome: ends, within: time.Second, err: termLost, left: nothing},
		{rows: keeper, outcome: ends, within: time.Second, err: leaseExpired, left: nothing},
		{rows: registers, outcome: back, within: 2 * time.Second, left: itsKey},
		{rows: reading, outcome: back, within: 3 * time.Second},
	},
}

var idle = situation{
	name: "Many are idle", short: "2,000 idle", test: "TestIdleHandlesAreQuiet",
	how:  "One process has many of the row, on one client, and nothing happens. Its requests and the messages on its streams are counted. With the tag long there are 2,000 of them, and the process uses less than 5 % of a core; of Keepers and Mirrors, which have streams of their own, there are 200, and no bound for the processor time.",
	long: "with 2,000 of them (200 of Keepers, of Mirrors and under the race detector, 50 otherwise)",
	promises: []promise{
		{rows: slices.Concat(queued, elected), outcome: quiet, rate: 2, note: "with a shared Keeper: one keepalive each third of the TTL, as all are on one lease, and one progress request every 2 s"},
		{rows: observer, outcome: quiet, rate: 3, note: "they share one mirror"},
		{rows: registers, outcome: quiet, rate: 2},
		{rows: keeper, outcome: quiet, rate: 0.5, note: "for each: one keepalive every third of the TTL of 10 s"},
		{rows: view, outcome: quiet, rate: 3, note: "they share one mirror: a read and a progress request every 2 s"},
		{rows: mirrors, outcome: quiet, rate: 1.5, note: "for each: a read and a progress request every 2 s"},
		{rows: requests, outcome: quiet, rate: 3, note: "they share one mirror"},
	},
}

var churned = situation{
	name: "Opened and closed again and again", short: "1,000 times", test: "TestOpenedAndClosedAgainAndAgainLeavesNothing",
	how:  "The handle is opened and closed many times in one process. No goroutine, lease or key is left.",
	long: "1,000 times (20 otherwise)",
	promises: []promise{
		{rows: every, outcome: closes, left: nothing},
	},
}

var shortTokens = situation{
	name: "Authentication with short tokens", short: "short tokens", test: "TestTokensThatExpireAreRenewed",
	how: "Authentication is on, and a token ends after " + text(tokenTTL) + " of silence. Each handle has a client of its own, which nothing else uses for a while, and which is then cut off for longer than a token lives. etcd refuses the old token, and the client gets a new one with its password. Each client makes no more than 5 requests a second, on average.",
	promises: []promise{
		{rows: writing, outcome: stays, left: itsKey, rate: 5},
		{rows: reading, outcome: stays, rate: 5},
	},
}

var certRotated = situation{
	name: "Certificates are rotated", short: "certificate rotated", test: "TestRotatedCertificatesFailNoOperation",
	how: "The members' and the client's certificates are replaced by new ones, and all connections are made again, member by member, twice, while each handle is used all the time. No operation fails.",
	promises: []promise{
		{rows: writing, outcome: stays, left: itsKey},
		{rows: reading, outcome: stays},
	},
}

var certExpired = situation{
	name: "The client's certificate has expired", short: "certificate expired", test: "TestAnExpiredCertificateIsATypedError",
	how: "The client's certificate expires, and all connections are closed. In TLS 1.3 the client reads the refusal only if the member has not closed the connection before, so that the first tries may say just that. Once it has read it, in 5 s at the most, calls with a deadline end with the error; handles end as in any outage. All handles of the client together make no more than 2 connections a second.",
	promises: []promise{
		{rows: writing, outcome: returns, err: certificate, left: untilExpiry},
		{rows: observer, outcome: returns, err: certificate},
		{rows: copies, outcome: returns, err: deadline, note: "and with `lease.ErrCertificate` if the last try met that, not a connection that was cut"},
		{rows: requests, outcome: returns, err: deadline, note: "the View's State has the cause"},
	},
}

var oddNames = situation{
	name: "Odd characters", short: "odd characters", test: "TestOddNamesWorkOrAreRefused",
	how: "Names, addresses and directories with spaces, %, #, ?, quotes, brackets, control characters, other alphabets, and of great length. Each works as any other, or is refused by the error before anything is sent.",
	promises: []promise{
		{rows: queued, outcome: stays, err: lockName, left: nothing},
		{rows: elected, outcome: stays, err: electionName, left: nothing},
		{rows: observer, outcome: stays, err: electionName},
		{rows: registers, outcome: stays, err: invalid, left: nothing},
		{rows: keeper, not: "a Keeper has no name"},
		{rows: view, outcome: stays, err: invalid, note: "also the directory of Options.Dir"},
		{rows: mirrors, outcome: stays, err: mirrorInvalid},
		{rows: requests, outcome: stays, note: "refused as registry.ErrInvalid, which is also grpcresolver.ErrInvalid and httptransport.ErrInvalid"},
	},
}
