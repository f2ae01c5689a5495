package mutants_test

var queueMutants = []mutant{
	{"the lease is not looked at when the entry has come", "internal/queue/wait.go", []string{
		"	if q.takeTurn(e) && e.Lease.Err() == nil {", "	if q.takeTurn(e) {",
	}, "lock", "TestWhoseLeaseHasEndedNeverHasItsTurn"},
	{"the lease is not looked at after waking", "internal/queue/wait.go", []string{
		"	leased, cancel := ask.UntilDone(ctx, e.Lease.Done(), nil)\n", "	leased, cancel := context.WithCancel(ctx)\n",
		"	if lost := e.Lease.Err(); lost != nil {", "	if lost := e.Lease.Err(); lost != nil && err != nil {",
	}, "lock", "TestWhoseLeaseHasEndedNeverHasItsTurn"},
	{"few wait without reading once the watch is open", "internal/queue/wait.go", []string{
		"		missed := e.ahead.at < from\n", "		missed := from < 0\n",
	}, "lock", "TestADeletionBeforeTheWatchOpensIsNotMissed"},
	{"a member that lags behind ends a wait", "internal/queue/deletions.go", []string{
		"ok && !e.ownWatched && revision > a.at {", "ok && !e.ownWatched && revision > 0 {",
	}, "lock", "TestAnAnswerOfAMemberThatLagsBehindEndsNoWait"},
	{"readers do not wait for writers", "internal/queue/ahead.go", []string{
		"	return len(a.entries) == 0 || ", "	return len(a.entries) == 0 || k.Shared || ",
	}, "lock", "TestReadersShareAndAWriterIsNotStarved"},
	{"writers do not wait for readers", "internal/queue/kind.go", []string{
		"append(opts, clientv3.WithPrefix())...)}", "append(opts, clientv3.WithRange(prefix+sharedMark))...)}",
	}, "lock", "TestReadersShareAndAWriterIsNotStarved"},
	{"the semaphore lets in one too many", "internal/queue/ahead.go", []string{
		"int64(k.Weight) <= int64(limit)", "int64(k.Weight) <= int64(limit)+1",
	}, "lock", "TestASemaphoreLetsSoManyIn"},
	{"a semaphore knows only the newest who are ahead", "internal/queue/kind.go", []string{
		"	if k.Size == 0 {\n		opts = append(opts, clientv3.WithSort(", "	if k.Size >= 0 {\n		opts = append(opts, clientv3.WithSort(",
	}, "lock", "TestASemaphoreKnowsAllEntriesAhead"},
	{"the newest who are ahead are taken for all", "internal/queue/kind.go", []string{
		"clientv3.WithLimit(knownAhead+2))", "clientv3.WithLimit(knownAhead+1))",
	}, "lock", "TestManyReadersAreWaitedForByOneWriter"},
	{"the token is of when the turn came", "internal/queue/hold.go", []string{
		"func (h *Hold) Token() int64 { return h.entry.Revision }", "func (h *Hold) Token() int64 { return h.entry.ahead.at }",
	}, "lock", "TestATokenIsTheRevisionAtWhichItsEntryCame"},
	{"the guard is a key by its name", "internal/queue/entry.go", []string{
		`	return clientv3.Compare(clientv3.CreateRevision(e.Key), "=", e.Revision)`, `	return clientv3.Compare(clientv3.CreateRevision(e.Key), ">", 0)`,
	}, "lock", "TestTokensIncreaseAndAReleasedHoldWritesNothing"},
	{"an entry leaves, and writes, whosoever it is", "internal/queue/leave.go", []string{
		"	cmps := []clientv3.Cmp{e.Guard()}\n", "	cmps := []clientv3.Cmp{}\n",
	}, "lock", "TestARevokedLeaseEndsHoldAndWaiter"},
	{"two resume one hold", "internal/queue/resume.go", []string{
		`clientv3.Compare(clientv3.ModRevision(e.Key), "=", found)`, `e.Guard()`,
	}, "lock", "TestOfTwoThatResumeAtOnceOneHasIt"},
	{"a hold to read is resumed as one that excludes", "internal/queue/key.go", []string{
		"	return ours && !strings.HasPrefix(last, sharedMark) && ", "	return ours && ",
	}, "lock", "TestAHandleOfAnotherKindIsRefused"},
	{"a leader proclaims without its guard", "internal/queue/hold.go", []string{
		"	resp, err := h.Txn(ctx).Then(", "	resp, err := h.q.cli.Txn(ctx).Then(",
	}, "election", "TestALeaderWhoseKeyIsDeletedLearnsOfItWhenItWrites"},
	{"an entry that was deleted with the one ahead has its turn", "internal/queue/deletions.go", []string{
		"	e.deleted = e.deleted || key == e.Key && revision > e.Revision\n", "	e.deleted = e.deleted || key == e.Key && revision > e.ahead.at\n",
	}, "lock", "TestAWaiterThatIsDeletedWithTheOneAheadIsLost"},
	{"a deletion that was forgotten is missed", "internal/queue/deletions.go", []string{
		"max(other.from.Load(), forgotten)", "min(other.from.Load(), forgotten)",
	}, "lock", "TestADeletionThatWasForgottenIsNotMissed"},
	{"what is read may be older than the last turn", "internal/queue/deletions.go", []string{
		"		a.lastDeletion = max(a.lastDeletion, revision) //", "		a.lastDeletion = revision //",
	}, "lock", "TestWhatIsReadIsAsNewAsAllThatWasAhead"},
	{"an entry that was not answered, and is not wanted, stays", "internal/queue/leave.go", []string{
		"		next.late.mayExist = true\n", "",
	}, "lock", "TestAnEntryThatNoCallNeedsIsRemoved"},
	{"a try that comes late stays", "internal/queue/leave.go", []string{
		"	q.endDeleted(e)\n	if next != nil {", "	q.releaseKey(e)\n	if next != nil {",
	}, "lock", "TestATryThatComesLateLeavesTheLockFree"},
	{"an entry that was not answered is put once more", "internal/queue/enter.go", []string{
		`		If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).`, `		If(clientv3.Compare(clientv3.CreateRevision(e.Key), ">", -1)).`,
	}, "lock", "TestAnEntryWhoseAnswerGotLostKeepsItsPlace"},
	{"an entry that was not answered is not known by its nonce", "internal/queue/enter.go", []string{
		"	if e.Kind.Unique || string(found.Value) == e.Value {", "	if e.Kind.Unique {",
	}, "lock", "TestAnEntryWhoseAnswerGotLostKeepsItsPlace"},
	{"a Commit that was not answered did not happen", "internal/queue/leave.go", []string{
		"	unknown := !ask.NotApplied(why) //", "	unknown := false //",
	}, "lock", "TestWhatACommitSaysIsTrueWhateverBecomesOfItsTries"},
	{"a key that takes less than nothing turns a semaphore off", "internal/queue/key.go", []string{
		"	if s == \"\" || len(s) > 5 || s[0] == '0' {\n", "	if n, err := strconv.Atoi(s); err == nil {\n		return n, true\n	}\n	if s == \"\" || len(s) > 5 || s[0] == '0' {\n",
		"	\"fmt\"\n	\"strings\"\n", "	\"fmt\"\n	\"strconv\"\n	\"strings\"\n",
	}, "lock", "TestAKeyThatCannotBeRightTakesAllOfASemaphore"},
	{"readers see only what sorts before them", "internal/queue/kind.go", []string{
		"		{mark + \"g\", clientv3.GetPrefixRangeEnd(prefix)},", "		{mark + \"g\", mark + \"h\"},",
	}, "lock", "TestReadersWaitForKeysThatAreNotReaders"},
	{"a larger size counts while a smaller one stands", "internal/queue/ahead.go", []string{
		"		limit = min(limit, size)\n", "		limit = max(limit, size)\n",
	}, "lock", "TestASizeIsChangedByCallsWithAnotherSize"},
	{"a holder is not told of a deletion", "internal/queue/ownkey.go", []string{
		"			h.deleted()\n", "			_ = h\n",
	}, "lock", "TestAHoldThatAnotherClientEndsIsLostAtOnce"},
	{"a holder looks once and does not watch", "internal/queue/deletions.go", []string{
		"	e.deleted = e.deleted || key == e.Key && revision > e.Revision\n", "	e.deleted = e.deleted || !e.ownWatched && key == e.Key && revision > e.Revision\n",
	}, "lock", "TestAHoldThatAnotherClientEndsIsLostAtOnce"},
	{"a holder watches and does not look", "internal/queue/ownkey.go", []string{
		"		e.deleted = e.deleted || !exists\n", "		_ = exists\n",
	}, "lock", "TestAHoldThatIsDeletedInItsFirstSecondIsLostAfterIt"},
	{"a release is taken for a loss", "internal/queue/hold.go", []string{
		"	if !ending {\n", "	if ending || !ending {\n",
	}, "lock", "TestAReleaseIsNotTakenForALoss"},
	{"the queue removes by name", "internal/queue/remove.go", []string{
		"	case e.Revision != 0:\n		own = e.Guard()\n", "	case e.Revision != 0:\n		own = clientv3.Compare(clientv3.CreateRevision(e.Key), \">\", 0)\n",
	}, "lock", "TestAnEntryIsNotRemovedByItsName"},
	{"nothing asks whether the watches are alive", "internal/queue/watches.go", []string{
		"		time.AfterFunc(wait, func() { ws.closeSilent(asked) })\n", "		_ = asked\n",
	}, "lock", "TestAWaiterHasItsTurnThoughItsOpenWatchIsSilent"},
	{"silent watches are opened on the same stream", "internal/queue/watches.go", []string{
		"		ws.stream++\n", "",
	}, "lock", "TestASilentWatchIsOpenedOnAnotherStream"},
	{"watches without a leader go on", "internal/queue/watches.go", []string{
		"clientv3.WithRequireLeader(ctx)", "ctx",
	}, "lock", "TestAWaiterHasItsTurnThoughItsOpenWatchIsSilent"},
	{"a watch that does not open is waited for", "internal/queue/watches.go", []string{
		"	time.AfterFunc(ws.silence, func() { ws.closeUnopened(w) })\n", "",
	}, "lock", "TestALingeringEntryIsRemovedThoughItsWatchIsSilent"},
	{"a request without an answer is not sent again", "internal/queue/client.go", []string{
		"	hedgeAfter = 400 * time.Millisecond //", "	hedgeAfter = time.Minute //",
	}, "lock", "TestALateHedgedTryThatFailedLeavesTheLockFree"},
	{"a read that comes after events forgets them", "internal/queue/entry.go", []string{
		"	e.caughtUp = false // deletions that were reported already may be later\n", "",
	}, "lock", "TestADeletionDuringAReadIsNotForgotten"},
	{"a request goes on when its caller's context has ended", "internal/queue/client.go", []string{
		"	return h.Run(ctx)\n", "	return h.Run(context.WithoutCancel(ctx))\n",
	}, "lock", "TestAcquireEndsWithItsContextAndNamesTheEndpoints"},
	{"a hold is watched from its first moment on", "internal/queue/ownkey.go", []string{
		"const watchAfter = time.Second\n", "const watchAfter = time.Nanosecond\n",
	}, "lock", "TestAShortHoldCostsTwoRequests"},
	{"watches are asked ten times as often", "internal/queue/watches.go", []string{
		"	askEvery = 2 * time.Second\n", "	askEvery = 200 * time.Millisecond\n",
	}, "election", "TestLeadingAndWaitingCostNoRequests"},
	{"what Do releases does not hurry when its context has ended", "internal/queue/hold.go", []string{
		"h.q.releaseContext(ctx)", "h.q.releaseContext(context.WithoutCancel(ctx))",
	}, "internal/matrix", "TestAProcessLeavesWithinTwoSeconds"},
	{"Close leaves what is held", "internal/queue/lifetime.go", []string{
		"		q.loseHolds()\n", "",
	}, "lock", "TestCloseReleasesHoldsOnASharedKeeper"},
	{"a waiter that was placed again waits for the watches that it had", "internal/queue/wait.go", []string{
		"		if !slices.Equal(e.watches, watches) {", "		if slices.Equal(e.watches, nil) {",
	}, "lock", "TestAWaiterThatIsPlacedAgainBeforeItsWatchesOpenMissesNothing"},
	{"a waiter that takes over a place takes what it heard for all", "internal/queue/deletions.go", []string{
		"		a.at, e.readsCurrent = p.ahead.at, false //", "		a.at, e.readsCurrent = a.lastDeletion-1, false //",
	}, "lock", "TestAWaiterThatTakesOverAPlaceLearnsOfEarlierDeletions"},
	{"what was read of the one before is taken for the next one's", "internal/queue/read.go", []string{
		"	case e.ahead.last == last:", "	case last.key != \"\":",
	}, "lock", "TestAWaiterThatTakesOverAPlaceWhileItReadsLearnsOfEarlierDeletions"},
	{"a read forgets that the entry was deleted", "internal/queue/read.go", []string{
		"	e.deleted = e.deleted || !has(", "	e.deleted = !has(",
	}, "lock", "TestAWaiterThatHearsOfItsDeletionWhileItReadsIsLost"},
	{"a try that failed beside another one is forgotten", "internal/ask/hedge.go", []string{
		"	r.open = r.open || !NotApplied(res.err)", "	r.open = r.open && !NotApplied(res.err)",
	}, "lock", "TestALateHedgedTryThatFailedLeavesTheLockFree"},
	{"a try that failed beside a refused one is forgotten", "internal/ask/hedge.go", []string{
		"	r.open = r.open || !NotApplied(res.err)", "	r.open = r.open && !NotApplied(res.err)",
	}, "lock", "TestAHedgedTryThatIsAppliedBesideARefusedOneLeavesTheLockFree"},
	{"a key is given back twice", "internal/queue/slots.go", []string{
		"	e.unclaim = nil\n	return late\n", "	return late\n",
	}, "lock", "TestAKeyIsGivenBackOnceThoughATryMayComeLate"},
	{"Shutdown waits for an answer to a Release", "internal/queue/lifetime.go", []string{
		"		q.endLeases() //", "		//",
	}, "lock", "TestShutdownWaitsForNoAnswerToARelease"},
	{"Shutdown waits for the background beyond its context", "internal/queue/workers.go", []string{
		"		case <-idle:\n		case <-ctx.Done():\n", "		case <-idle:\n",
	}, "lock", "TestShutdownWaitsForNoAnswerToARelease"},
	{"a refused note is written again and again", "internal/queue/ownkey.go", []string{
		"				first = nil //", "				_ = first //",
	}, "lock", "TestAHoldLearnsOfItsDeletionThoughEtcdDoesNotWriteSinceWhenItIsHeld"},
	{"a holder whose note has no answer does not hear of its deletion", "internal/queue/ownkey.go", []string{
		"			if err != nil && !q.Deleted(e) {", "			if err != nil {",
	}, "lock", "TestAHoldLearnsOfItsDeletionThoughEtcdDoesNotWriteSinceWhenItIsHeld"},
	{"a late try of a detach takes the entry back", "internal/queue/detach.go", []string{
		"If(e.Guard(), clientv3.Compare(clientv3.LeaseValue(e.Key), \"=\", e.Lease.ID())).", "If(e.Guard()).",
	}, "lock", "TestALateTryOfDetachDoesNotTakeTheLockFromItsNextHolder"},
	{"a detach does not look for what its first try has done", "internal/queue/detach.go", []string{
		"		return movedBefore(e, to, resp.Responses[0])\n", "		return lostBy(errKeyDeleted)\n",
	}, "lock", "TestADetachWhoseFirstAnswerIsLostIsDone"},
	{"a detach that finds another holder removes its entry", "internal/queue/detach.go", []string{
		"		h.q.endDeleted(h.entry) // it is gone,", "		h.q.RemoveLater(h.entry) // it is gone,",
	}, "lock", "TestADetachOfALockThatWasResumedIsALoss"},
	{"the lease of a detach without an answer stays", "internal/queue/detach.go", []string{
		"			h.q.RevokeLater(id)\n", "			_ = h.q.Revoke(ctx, id)\n",
	}, "lock", "TestADetachWithoutAnAnswerLeavesTheLockFree"},
	{"Close does not wait until a lease is revoked", "internal/queue/lifetime.go", []string{
		"	q.revocations.wait(ctx)\n", "",
	}, "lock", "TestADetachWithoutAnAnswerLeavesTheLockFree"},
	{"the release of what may be detached leaves its lease", "internal/queue/revoke.go", []string{
		"		return cmp.Or(revoke(ctx, clientOf(cli), d.Lease), err) //", "		return cmp.Or(err) //",
	}, "lock", "TestADetachedLockThatWasReleasedStaysSo"},
	{"a grant without an answer leaves its lease", "internal/queue/grant.go", []string{
		"		q.revokeLater(id, lateness)\n", "		_ = id\n",
	}, "lock", "TestAGrantWithoutAnAnswerLeavesNoLease"},
	{"a grant that arrives late leaves its lease", "internal/queue/grant.go", []string{
		"		q.revokeLater(id, lateness)\n", "		q.revokeLater(id, 0)\n",
	}, "lock", "TestAGrantThatArrivesLateIsRevoked"},
	{"the lease of a mark that was not written stays", "lock/every.go", []string{
		"		q.RevokeLater(r.lease)\n", "		_ = q\n",
	}, "lock", "TestTheLeaseOfAMarkThatWasNotWrittenIsRevokedWhenEtcdAnswersAgain"},
}
