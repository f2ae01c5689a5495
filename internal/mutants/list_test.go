//go:build long

package mutants_test

// mutant is something wrong in a source file, and the test that must find it.
type mutant struct {
	name string
	file string
	edit []string // old, new, old, new, …
	pkg  string   // of the test
	test string
}

// mutants are those that must be caught.
var mutants = []mutant{
	// The lease's deadline.
	{"the deadline is counted from the answer", "lease/renew.go", []string{
		"	sent := r.keeper.clock()\n	ttl, err := line.keepAlive(r.id)\n", "	ttl, err := line.keepAlive(r.id)\n	sent := r.keeper.clock()\n",
	}, "lease", "TestTheDeadlineIsCountedFromSending"},
	{"an answer after the deadline brings the lease back", "lease/lease.go", []string{
		"	if l.err != nil || l.left() <= 0 {\n", "	if l.err != nil {\n",
		"	case <-l.done:\n	default:\n		if l.left() > 0 {\n			return nil\n		}\n		l.expire()\n	}\n	return l.err", "	case <-l.done:\n		return l.err\n	default:\n		return nil\n	}",
	}, "lease", "TestAnAnswerAfterTheDeadlineDoesNotResurrect"},

	// Waiting, and whose turn it is.
	{"nobody looks at the lease when the entry has come", "internal/queue/wait.go", []string{
		"	if q.turn(e) && e.Lease.Err() == nil {", "	if q.turn(e) {",
	}, "lock", "TestWhoseLeaseHasEndedNeverHasItsTurn"},
	{"nobody looks at the lease after waking", "internal/queue/wait.go", []string{
		"	held, cancel := lifetime(ctx, e.Lease)\n", "	held, cancel := context.WithCancel(ctx)\n",
		"	if lost := e.Lease.Err(); lost != nil {", "	if lost := e.Lease.Err(); lost != nil && err != nil {",
	}, "lock", "TestWhoseLeaseHasEndedNeverHasItsTurn"},
	{"few wait without looking once the watch is open", "internal/queue/wait.go", []string{
		"	missed := e.at < a.from\n", "	missed := false\n",
	}, "lock", "TestADeletionBeforeTheWatchOpensIsNotMissed"},
	{"many wait without looking once the watch is open", "internal/queue/wait.go", []string{
		"			if resp.Created && resp.Header.Revision > at {", "			if resp.Created && resp.Header.Revision < at {",
	}, "lock", "TestADeletionBeforeTheWatchOpensIsNotMissed"},
	{"a member that lags behind ends a wait", "internal/queue/wait.go", []string{
		"				if ev.Kv.ModRevision > at {", "				if ev.Kv.ModRevision > 0 {",
		"			return q.Look(ctx, e, ev.Kv.ModRevision)", "			return q.Look(ctx, e, 0)",
	}, "lock", "TestWhatAMemberSaysThatLagsBehindEndsNoWait"},
	{"readers do not wait for writers", "internal/queue/kind.go", []string{
		"	if k.Size == 0 {\n		return 0\n	}\n	return k.Size - k.Weight", "	if k.Shared {\n		return 1\n	}\n	if k.Size == 0 {\n		return 0\n	}\n	return k.Size - k.Weight",
	}, "lock", "TestReadersShareAndAWriterIsNotStarved"},
	{"writers do not wait for readers", "internal/queue/kind.go", []string{
		"		opts = append(opts, clientv3.WithPrefix())\n", "		opts = append(opts, clientv3.WithRange(prefix+sharedMark))\n",
	}, "lock", "TestReadersShareAndAWriterIsNotStarved"},
	{"the semaphore lets in one too many", "internal/queue/kind.go", []string{
		"	return k.Size - k.Weight", "	return k.Size - k.Weight + 1",
	}, "lock", "TestASemaphoreLetsSoManyIn"},
	{"a semaphore knows only the newest who are ahead", "internal/queue/kind.go", []string{
		"	if k.Size == 0 {\n		opts = append(opts, clientv3.WithSort(", "	if k.Size >= 0 {\n		opts = append(opts, clientv3.WithSort(",
	}, "lock", "TestASemaphoreKnowsAllWhoAreAhead"},
	{"the newest who are ahead are taken for all", "internal/queue/kind.go", []string{
		"clientv3.WithLimit(few+2))", "clientv3.WithLimit(few+1))",
	}, "lock", "TestManyReadersAreWaitedForByOneWriter"},

	// What a turn protects.
	{"the token is of when the turn came", "internal/queue/hold.go", []string{
		"func (h *Hold) Token() int64 { return h.entry.Revision }", "func (h *Hold) Token() int64 { return h.entry.at }",
	}, "lock", "TestATokenIsTheRevisionAtWhichItsEntryCame"},
	{"the guard is a key by its name", "internal/queue/queue.go", []string{
		`	return clientv3.Compare(clientv3.CreateRevision(e.Key), "=", e.Revision)`, `	return clientv3.Compare(clientv3.CreateRevision(e.Key), ">", 0)`,
	}, "lock", "TestTokensIncreaseAndAReleasedHoldWritesNothing"},
	{"an entry leaves, and writes, whosoever it is", "internal/queue/leave.go", []string{
		"	cmps := []clientv3.Cmp{e.Guard()}\n", "	cmps := []clientv3.Cmp{}\n",
	}, "lock", "TestARevokedLeaseEndsHoldAndWaiter"},
	{"two resume one hold", "internal/queue/keep.go", []string{
		`clientv3.Compare(clientv3.ModRevision(e.Key), "=", found)`, `e.Guard()`,
	}, "lock", "TestOfTwoThatResumeAtOnceOneHasIt"},
	{"a hold to read is resumed as one that excludes", "internal/queue/kind.go", []string{
		"	return ours && !strings.HasPrefix(last, sharedMark) && ", "	return ours && ",
	}, "lock", "TestAHandleOfAnotherKindIsRefused"},
	{"a leader proclaims without its guard", "internal/queue/hold.go", []string{
		"	resp, err := h.Txn(ctx).Then(", "	resp, err := h.q.cli.Txn(ctx).Then(",
	}, "election", "TestALeaderWhoseKeyIsDeletedIsToldByWhatItWrites"},

	{"an entry that was deleted with the one ahead has its turn", "internal/queue/ear.go", []string{
		"	e.gone = e.gone || key == e.Key && revision > e.Revision\n", "	e.gone = e.gone || key == e.Key && revision > e.at\n",
	}, "lock", "TestAWaiterThatIsDeletedWithTheOneAheadIsLost"},
	{"what is read may be older than the last turn", "internal/queue/ear.go", []string{
		"e.heard = max(e.heard, revision)", "e.heard = revision",
	}, "lock", "TestWhatIsReadIsAsNewAsAllThatWasAhead"},

	// Answers that are lost.
	{"an entry that was not answered, and is not wanted, stays", "internal/queue/leave.go", []string{
		"		next.sent = true\n", "",
	}, "lock", "TestAnEntryThatNobodyWantsAnyMoreIsRemoved"},
	{"a try that comes late stays", "internal/queue/leave.go", []string{
		"	q.retire(e)\n	if next != nil {", "	q.free(e)\n	if next != nil {",
	}, "lock", "TestATryThatComesLateKeepsNobodyOut"},
	{"an entry that was not answered is put once more", "internal/queue/queue.go", []string{
		`		If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).`, `		If(clientv3.Compare(clientv3.CreateRevision(e.Key), ">", -1)).`,
	}, "lock", "TestAnEntryWhoseAnswerGotLostKeepsItsPlace"},
	{"an entry that was not answered is not known by its nonce", "internal/queue/queue.go", []string{
		"	if e.Kind.Unique || string(found.Value) == e.Value {", "	if e.Kind.Unique {",
	}, "lock", "TestAnEntryWhoseAnswerGotLostKeepsItsPlace"},
	{"a Commit that was not answered did not happen", "internal/queue/leave.go", []string{
		"	unknown, bad := !Refused(cause), hopeless(cause)", "	unknown, bad := false, hopeless(cause)",
	}, "lock", "TestWhatACommitSaysIsTrueWhateverBecomesOfItsTries"},

	// Lingering, and elections.
	{"an entry lingers though somebody waits", "lock/local.go", []string{
		"	if m.kept.idle {\n		m.remove()\n	}\n}\n\n// remove takes", "	if m.kept.idle && !company {\n		m.remove()\n	}\n}\n\n// remove takes",
	}, "lock", "TestALingeringEntryIsGivenUpWhenSomebodyComes"},
	{"the newest candidate is shown as the leader", "election/observe.go", []string{
		"kv.CreateRevision < l.Token {", "kv.CreateRevision > l.Token {",
	}, "election", "TestObserveYieldsEachLeaderAndVacancies"},
	{"Run ends when a term is lost", "election/election.go", []string{
		"		case !errors.Is(lost, ErrLost):", "		case errors.Is(lost, ErrLost):",
	}, "election", "TestRunCampaignsAgainAndNeverCallsTwiceAtOnce"},
}
