package mutants_test

var registryMutants = []mutant{
	{"a registry watch that was opened again looks at nothing", "registry/watcher.go", []string{
		"	w.table.markUnverified(t.name)\n", "",
	}, "registry", "TestWhatHappenedWhileAWatchWasBrokenIsLookedForWhenItIsOpenAgain"},
	{"a registry watch of a service that was opened again looks at one key", "registry/table.go", []string{
		"strings.HasPrefix(key, below)", "strings.Compare(key, below) == 0",
	}, "registry", "TestABrokenWatchOfAWholeServiceIsNoGapEither"},
	{"registered keys are not looked at every 30 s", "registry/worker.go", []string{
		"			w.table.markUnverified(\"\")\n", "",
	}, "registry", "TestKeysAreLookedAtThoughTheirWatchIsSilent"},
	{"a registry watch begins when it is open", "registry/watcher.go", []string{
		"			start = append(opts[:len(opts):len(opts)], clientv3.WithRev(from))\n", "",
	}, "registry", "TestADeletionBeforeTheWatchIsOpenIsNotMissed"},
	{"a key that was written before its watch began is not looked at", "registry/watcher.go", []string{
		"	return from < e.target.from", "	return from < 0",
	}, "registry", "TestAKeyThatIsDeletedBeforeItsServicesWatchBeginsIsLookedAt"},
	{"a registry watch that ends is opened again without a pause", "registry/watcher.go", []string{
		"		_ = again.Wait(ctx)", "		_ = again",
	}, "registry", "TestAWatchThatEndsAtOnceEachTimeIsNotAskedForEverFaster"},
	{"registry watches without RequireLeader", "registry/watcher.go", []string{
		"context.WithCancel(clientv3.WithRequireLeader(ctx))", "context.WithCancel(ctx)",
	}, "registry", "TestAWatchEndsAtAMemberThatHasNoLeader"},
	{"a pid that is used again is taken for the owner", "registry/process.go", []string{
		"	case dead, start != 0 && start != p.start:\n", "	case dead:\n",
	}, "registry", "TestAPidThatIsUsedAgainIsNotTakenForTheOwner"},
	{"pids of another machine are compared with this one's", "registry/process.go", []string{
		"	case p.scope != self.scope:\n", "	case p.scope == \"\":\n",
	}, "registry", "TestWhatIsNotProvenIsWaitedFor"},
	{"a take-over does not compare what was read", "registry/write.go", []string{
		`op.cmp = clientv3.Compare(clientv3.ModRevision(e.key), "=", op.expects)`, `op.cmp = clientv3.Compare(clientv3.ModRevision(e.key), "=", op.expects)
		if !e.written && e.replace != 0 {
			op.cmp = clientv3.Compare(clientv3.CreateRevision(e.key), ">", 0)
		}`,
	}, "registry", "TestATakeOverThatComesTooLateLeavesTheKeyAlone"},
	{"a registration does not ask for overrides", "registry/overrides.go", []string{
		"			cmps = append(cmps, newer.WithPrefix())\n", "			_ = newer\n",
	}, "registry", "TestMaintenanceOutlivesTheProcessAndDrainingDoesNot"},
	{"an override that was taken back is still applied", "registry/overrides.go", []string{
		"			cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(o.key(e)), \"=\", e.overrideRevision))\n", "",
	}, "registry", "TestMaintenanceOutlivesTheProcessAndDrainingDoesNot"},
	{"an owner writes over what an operator has written", "registry/write.go", []string{
		"	unread := w.overrides.unread(ops, kvs)\n", "	unread := w.overrides.unread(ops, kvs)[:0]\n",
	}, "registry", "TestAnOverrideHoldsWhateverTheOwnerWrites"},
	{"a user without a permission for overrides does not register", "registry/write.go", []string{
		"	resp, again, err := transact(ctx, w.cli, len(ops), w.txn(ops, nil, nil))\n", "	resp, again, err := transact(ctx, w.cli, len(ops), w.txn(ops, nothingNew, ended))\n",
	}, "registry", "TestAUserWithoutAPermissionForOverridesRegistersAsBefore"},
	{"Close is nil though keys are still there", "registry/close.go", []string{
		"	if len(remaining) == 0 {\n		return nil", "	if closed == nil || len(remaining) == 0 {\n		return nil",
	}, "registry", "TestCloseTellsWhichKeysAreStillThereAndUntilWhen"},
	{"a transaction without an answer is not sent again", "registry/write.go", []string{
		"		Most:    mostTries,", "		Most:    1,",
	}, "registry", "TestATransactionWithoutAnAnswerIsSentAgainBeforeItIsGivenUp"},
	{"refused batches are not halved", "registry/worker.go", []string{
		"half > 0 && isolatesRefusal(err)", "half > 128 && isolatesRefusal(err)",
	}, "registry", "TestOneRegistrationThatIsRefusedKeepsNoOtherOut"},
	{"a member's refusal is what closing waits for", "registry/worker.go", []string{
		"class == ask.Final && ask.IsAnswer(err):", "ask.IsAnswer(err):",
	}, "registry", "TestCloseIsBoundedThoughEtcdAnswersThatItDoesNot"},
	{"a client without a user is not refused for good", "registry/worker.go", []string{
		"ask.Unauthorised(err) || errors.Is(err, lease.ErrUnauthorised)", "errors.Is(err, rpctypes.ErrPermissionDenied)",
	}, "registry", "TestCloseTellsWhatIsLeftWhereAuthenticationWasTurnedOn"},
	{"a refusal waits for a silent member", "registry/write.go", []string{
		"		Most:    mostTries,", "		Most:    mostTries, Failed: func(int, error) bool { return false },",
	}, "registry", "TestARefusalIsNotWaitedOutForASilentMember"},
	{"a try that is carried out after Close stays", "registry/write.go", []string{
		"	defer func() { w.deleteLateWrites(late, revision) }()\n", "",
	}, "registry", "TestATryThatIsCarriedOutAfterCloseIsUndone"},
	{"a try that is carried out after Register was given up stays", "registry/write.go", []string{
		"	case len(kvs) == 0 && e.withdrawing:\n		found.late.add(e)\n", "	case len(kvs) == 0 && e.withdrawing:\n",
	}, "registry", "TestATryThatIsCarriedOutAfterRegisterWasGivenUpIsUndone"},
	{"a late try is undone though its key is registered again", "registry/late.go", []string{
		"	if !ok {\n		return true // it", "	if !ok {\n		unclaim = func() {}\n	}\n	if false {\n		return true // it",
	}, "registry", "TestATryThatIsCarriedOutAfterCloseIsUndone"},
	{"a key is revoked with one of the leases that it can be on", "registry/entry.go", []string{
		"append([]*lease.Lease{e.lease, e.writtenOn}, e.unansweredOn...)", "[]*lease.Lease{e.lease, e.writtenOn}",
	}, "registry", "TestCloseTellsOfAKeyThatALostAnswerHasPutOnAnotherLease"},
	{"Leave gives consumers no notice", "registry/leave.go", []string{
		"	if noticeDue && r.notice > 0 {", "	if noticeDue && r.notice < 0 {",
	}, "registry", "TestConsumersLeaveBeforeTheRequestsAreFinished"},
	{"Leave leaves the key there when its context has ended", "registry/leave.go", []string{
		"	ctx, done := r.withdrawContext(ctx)", "	ctx, done := ctx, func() {}",
	}, "registry", "TestTheEndOfItsContextHastensLeave"},
}
