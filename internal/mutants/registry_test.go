package mutants_test

var registryMutants = []mutant{
	{"a registry watch that was opened again does not doubt", "registry/watcher.go", []string{
		"	w.r.doubt(name)\n", "",
	}, "registry", "TestWhatHappenedWhileAWatchWasBrokenIsLookedForWhenItIsOpenAgain"},
	{"a registry watch of a service that was opened again does not doubt", "registry/watcher.go", []string{
		"strings.HasPrefix(key, below)", "key == below",
	}, "registry", "TestABrokenWatchOfAWholeServiceIsNoGapEither"},
	{"registered keys are not looked at every 30 s", "registry/worker.go", []string{
		"			r.doubt(\"\")\n", "",
	}, "registry", "TestKeysAreLookedAtThoughTheirWatchIsSilent"},
	{"a registry watch begins when it is open", "registry/watcher.go", []string{
		"			start = append(opts[:len(opts):len(opts)], clientv3.WithRev(from))\n", "",
	}, "registry", "TestADeletionBeforeTheWatchIsOpenIsNotMissed"},
	{"a key that was written before its watch began is not looked at", "registry/watcher.go", []string{
		"	if from < w.targets[e.watch].from {", "	if from < 0 {",
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
		`w.cmp = clientv3.Compare(clientv3.ModRevision(e.key), "=", e.replace)`, `w.cmp = clientv3.Compare(clientv3.CreateRevision(e.key), ">", 0)`,
	}, "registry", "TestATakeOverThatComesTooLateLeavesTheKeyAlone"},
	{"Close is nil though keys are still there", "registry/registrar.go", []string{
		"		if len(left) == 0 {\n			return closed\n		}\n", "		if closed == nil || len(left) == 0 {\n			return closed\n		}\n",
	}, "registry", "TestCloseTellsWhichKeysAreStillThereAndUntilWhen"},
	{"a transaction without an answer is not sent again", "registry/write.go", []string{
		"		Most:    mostTries,", "		Most:    1,",
	}, "registry", "TestATransactionWithoutAnAnswerIsSentAgainBeforeItIsGivenUp"},
	{"refused chunks are not halved", "registry/worker.go", []string{
		"half > 0 && divisible(err)", "half > 128 && divisible(err)",
	}, "registry", "TestOneRegistrationThatIsRefusedKeepsNoOtherOut"},
	{"a member's refusal is what closing waits for", "registry/worker.go", []string{
		"class == ask.Final && ask.Answer(err):", "ask.Answer(err):",
	}, "registry", "TestCloseIsBoundedThoughEtcdAnswersThatItDoesNot"},
	{"a client without a user is not refused for good", "registry/worker.go", []string{
		"ask.Unauthorised(err) || errors.Is(err, lease.ErrUnauthorised)", "errors.Is(err, rpctypes.ErrPermissionDenied)",
	}, "registry", "TestCloseTellsWhatIsLeftWhereAuthenticationWasTurnedOn"},
	{"a refusal waits for a silent member", "registry/write.go", []string{
		"		Most:    mostTries,", "		Most:    mostTries, Failed: func(int, error) bool { return false },",
	}, "registry", "TestARefusalIsNotWaitedOutForASilentMember"},
	{"a try that is carried out after Close stays", "registry/write.go", []string{
		"	defer func() { r.undoLate(late, revision) }()\n", "",
	}, "registry", "TestATryThatIsCarriedOutAfterCloseIsUndone"},
	{"a try that is carried out after Register was given up stays", "registry/write.go", []string{
		"		case len(got.Kvs) == 0 && e.leaving:\n			late.add(e)\n", "		case len(got.Kvs) == 0 && e.leaving:\n",
	}, "registry", "TestATryThatIsCarriedOutAfterRegisterWasGivenUpIsUndone"},
	{"a late try is undone though its key is registered anew", "registry/late.go", []string{
		"	if !ok {\n		return true // it is", "	if !ok {\n		release = func() {}\n	}\n	if false {\n		return true // it is",
	}, "registry", "TestATryThatIsCarriedOutAfterCloseIsUndone"},
	{"a key is revoked with one of the leases that it can be on", "registry/entry.go", []string{
		"append([]*lease.Lease{e.lease, e.on}, e.untold...)", "[]*lease.Lease{e.lease, e.on}",
	}, "registry", "TestCloseTellsOfAKeyThatALostAnswerHasPutOnAnotherLease"},
}
