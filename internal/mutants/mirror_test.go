package mutants_test

var mirrorMutants = []mutant{
	{"a mirror reads pages without their revision", "mirror/load.go", []string{
		"Limit: int64(p.limit), Revision: p.revision})", "Limit: int64(p.limit)})",
	}, "mirror", "TestAllPagesOfACopyAreOfOneRevision"},
	{"a mirror takes a fragment for the whole", "mirror/stream.go", []string{
		"if rest = nil; r.Fragment {", "if rest = nil; r.Fragment && len(r.Events) == 0 {",
	}, "mirror", "TestATransactionThatComesInFragmentsIsVisibleAllAtOnce"},
	{"a mirror watches without RequireLeader", "mirror/stream.go", []string{
		".Watch(clientv3.WithRequireLeader(ctx), ", ".Watch(ctx, ",
	}, "mirror", "TestAMemberWithoutALeaderEndsItsWatch"},
	{"a mirror resumes at the copy's revision", "mirror/follow.go", []string{
		"StartRevision: r.Snapshot().revision + 1,", "StartRevision: r.Snapshot().revision,",
	}, "mirror", "TestAWatchResumesAtTheRevisionAfterTheCopy"},
	{"a mirror ignores that its revision was compacted", "mirror/run.go", []string{
		"			r.reread(life, &gapError{Compacted,", "			r.recordTrouble(&gapError{Compacted,",
	}, "mirror", "TestACompactionThatCoversWhatWasMissedHasThePrefixReadAgain"},
	{"a mirror asks for fragments of whatever comes", "mirror/follow.go", []string{
		"	return n <= fewKeys && r.bytes >= n*largeEntry && n > 0\n", "	return n <= fewKeys || r.bytes >= n*largeEntry || n > 0\n",
	}, "mirror", "TestAMirrorCatchesUpWithALargeRevision"},
	{"a mirror resumes however far it is behind", "mirror/follow.go", []string{
		"	const few, perKey = 1000, 16 ", "	const few, perKey = 1_000_000, 16 ",
	}, "mirror", "TestAMirrorCatchesUpWithABacklog"},
	{"a mirror replaces silent watches for ever", "mirror/follow.go", []string{
		"	silentMost = 3\n", "	silentMost = 1 << 30\n",
	}, "mirror", "TestAMirrorWhoseWatchesDeliverNothingReadsAgain"},
	{"an Open is content with the copy that another one has", "mirror/share.go", []string{
		"		case !confirmed.Before(began):\n", "		case !confirmed.IsZero():\n",
	}, "mirror", "TestAMirrorThatJoinsHasWhatWasThereBefore"},
	{"a mirror that is closed ends those that share its copy", "mirror/share.go", []string{
		"	last := r.uses == 0\n", "	last := r.uses >= 0\n",
	}, "mirror", "TestAnOpenThatIsCancelledDoesNotEndAnother"},
	{"a mirror reads on for ever while much is written", "mirror/follow.go", []string{
		" << min(r.rereadsInRow, 20)\n", "\n",
	}, "mirror", "TestAPrefixIsNotReadForEverBecauseOfWhatIsWrittenMeanwhile"},
	{"a mirror that once was behind stays patient", "mirror/follow.go", []string{
		"	f.awaitingEvents, f.silent, f.rereadsInRow = false, 0, 0\n", "	f.awaitingEvents, f.silent = false, 0\n",
	}, "mirror", "TestAPrefixIsNotReadForEverBecauseOfWhatIsWrittenMeanwhile"},
	{"changes that begin after Close are those of the copy", "mirror/changes.go", []string{
		"	return reader.of.Snapshot() //", "	return r.Snapshot() //",
	}, "mirror", "TestCloseEndsTheChangesOfOneMirrorAndNotOfOthers"},
	{"changes that began before Close go on after it", "mirror/replica.go", []string{
		"			if reader.of.final == nil {", "			if reader.of != nil {",
	}, "mirror", "TestCloseEndsTheChangesOfOneMirrorAndNotOfOthers"},
	{"a progress answer counts as life", "mirror/stream.go", []string{
		"		if len(r.Events) > 0 {\n			s.received.Add(1)", "		if len(r.Events) >= 0 {\n			s.received.Add(1)",
	}, "mirror", "TestAMirrorWhoseWatchesOnlyAnswerProgressReadsAgain"},
}
