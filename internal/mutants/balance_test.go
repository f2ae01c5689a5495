package mutants_test

// balanceMutants are about how instances are chosen and avoided, and about gRPC and HTTP.
var balanceMutants = []mutant{
	{"after its pause an instance takes its whole share", "discovery/avoid.go", []string{
		"	return now >= next && u.trial.CompareAndSwap(next, now+int64(pauseAfter(u.fails.Load())))", "	return now >= next",
	}, "discovery", "TestAfterItsPauseAnInstanceIsTriedByOnePickAtATime"},
	{"an expired instance that failed is tried again", "discovery/avoid.go", []string{
		"		pause = v.opts.KeepExpired // it is most likely dead\n", "",
	}, "discovery", "TestAnExpiredInstanceThatFailsOnceIsNotTriedAgain"},
	{"when all have failed, an expired one is as good as one that is registered", "discovery/pick.go", []string{
		"best.Status == Expired && i.Status != Expired)", "false)",
	}, "discovery", "TestAnExpiredInstanceThatFailsOnceIsNotTriedAgain"},
	{"a new registration does not end a pause", "discovery/lists.go", []string{
		"	if i.registeredAgain(old) {", "	if false {",
	}, "discovery", "TestANewRegistrationEndsThePause"},
	{"one refusal counts", "discovery/avoid.go", []string{
		"	refusals = 3\n", "	refusals = 1\n",
	}, "discovery", "TestRefusalsCountInARowAndNeverAgainstMoreThanHalf"},
	{"an answer does not end a row of refusals", "discovery/avoid.go", []string{
		"		u.refused.Store(0)\n", "",
	}, "discovery", "TestRefusalsCountInARowAndNeverAgainstMoreThanHalf"},
	{"all may be avoided for refusing", "discovery/avoid.go", []string{
		"	return 2*avoided <= asked\n", "	return true\n",
	}, "discovery", "TestRefusalsCountInARowAndNeverAgainstMoreThanHalf"},
	{"an instance's Retry-After is ignored by the View", "discovery/avoid.go", []string{
		"		pause = min(refused.After, maxPause)\n", "",
	}, "discovery", "TestAPauseThatAnInstanceAsksForIsBounded"},
	{"a failure that a probe found ends a request", "discovery/avoid.go", []string{
		"	v.failures.Add(1)\n	v.failed(i, err)\n", "	v.failures.Add(1)\n	i.usage.pending.Add(-1)\n	v.failed(i, err)\n",
	}, "discovery", "TestAFailureThatAProbeFoundEndsNoRequest"},
	{"each failure is logged", "discovery/avoid.go", []string{
		"	if !first {\n", "	if false && first {\n",
	}, "discovery", "TestTheLogHasALineForEachChangeAndNoneForEachFailure"},

	{"a hung server is sent RPCs on", "discovery/grpcresolver/balancer.go", []string{
		"		return errSilent\n", "		return nil\n",
	}, "discovery/grpcresolver", "TestAHungServerIsAvoidedLikeADeadOneAndUsedAgainWhenItGoesOn"},
	{"a hung server that goes on is not used again", "discovery/grpcresolver/hung.go", []string{
		"s.state.CompareAndSwap(-number, well)", "s.state.Load() == -number",
	}, "discovery/grpcresolver", "TestAHungServerIsAvoidedLikeADeadOneAndUsedAgainWhenItGoesOn"},
	{"a probe ends the wait of the next one", "discovery/grpcresolver/hung.go", []string{
		"s.state.CompareAndSwap(number, -number)", "s.state.CompareAndSwap(s.state.Load(), -number)",
	}, "discovery/grpcresolver", "TestAProbeDoesNotShortenTheNextOne"},
	{"a deadline alone has a server avoided", "discovery/grpcresolver/hung.go", []string{
		"	maxTimeouts = 3\n", "	maxTimeouts = 1\n",
	}, "discovery/grpcresolver", "TestADeadlineThatIsTooShortIsNotHeldAgainstAServer"},
	{"deadlines never have a server avoided that answers health checks", "discovery/grpcresolver/hung.go", []string{
		"s.timeouts.Add(1) >= maxTimeouts", "s.timeouts.Add(1) < 0",
	}, "discovery/grpcresolver", "TestAServerThatAnswersNothingButHealthChecksIsAvoided"},
	{"a process is taken for the one that hung at its address", "discovery/grpcresolver/balancer.go", []string{
		" && now.anotherProcess(was): //", " && now.anotherProcess(was) && false: //",
	}, "discovery/grpcresolver", "TestAProcessAtTheAddressOfOneThatHungIsUsed"},
	{"a process gets the connection of the one that hung at its address", "discovery/grpcresolver/balancer.go", []string{
		"s = &server{addr: addr, generation: s.generation + 1}", "s = &server{addr: addr, generation: s.generation}",
	}, "discovery/grpcresolver", "TestAProcessAtTheAddressOfOneThatHungIsUsed"},
	{"an RPC to the one that hung counts against the next process", "discovery/grpcresolver/hung.go", []string{
		"	case s.life.Err() != nil:\n", "	case false:\n",
	}, "discovery/grpcresolver", "TestAnRPCToTheOneThatHungIsNotHeldAgainstTheNextProcess"},
	{"a server whose health check blocks is taken for hung", "discovery/grpcresolver/hung.go", []string{
		"		case <-time.After(otherAfter):\n", "		case <-(chan time.Time)(nil):\n",
	}, "discovery/grpcresolver", "TestAServerWhoseHealthCheckBlocksIsNotTakenForHung"},
	{"builders without a logger read the same list each", "discovery/grpcresolver/builder.go", []string{
		"		b.opts.View.Logger = discard\n", "		b.opts.View.Logger = slog.New(discard.Handler())\n",
	}, "discovery/grpcresolver", "TestBuildersOfOneClientShareACopy"},
	{"the back-off outlives a registration, with the balancer etcdkit", "discovery/grpcresolver/balancer.go", []string{
		"				s.generation++\n", "				_ = s.generation\n",
	}, "discovery/grpcresolver", "TestServersThatComeBackAreConnectedToAtOnce"},
	{"the back-off outlives a registration, with gRPC's own", "discovery/grpcresolver/watcher.go", []string{
		"			r.generation++\n", "			_ = r.generation\n",
	}, "discovery/grpcresolver", "TestServersThatComeBackAreConnectedToAtOnce"},
	{"a new registration costs a live connection, with the balancer etcdkit", "discovery/grpcresolver/balancer.go", []string{
		"			case !s.ready:\n", "			default:\n",
	}, "discovery/grpcresolver", "TestANewRegistrationOfTheSameProcessKeepsItsConnection"},
	{"a new registration costs a live connection, with gRPC's own", "discovery/grpcresolver/endpoint.go", []string{
		"	return r.pid != old.pid || r.host != old.host\n", "	return r != old\n",
	}, "discovery/grpcresolver", "TestANewRegistrationOfTheSameProcessKeepsItsConnection"},
	{"with a closed client RPCs go on to the last list", "discovery/grpcresolver/watcher.go", []string{
		"	w.clear(attributes.New(viewKey{}, v).WithValue(closedKey{}, err))\n", "	_ = err\n",
	}, "discovery/grpcresolver", "TestWhenTheClientIsClosedRPCsSaySoAtOnce"},
	{"it is not said that none is registered while dead ones are kept", "discovery/grpcresolver/balancer.go", []string{
		"		s.Picker = expiredPicker{s.Picker, p.view}\n", "",
	}, "discovery/grpcresolver", "TestWhenExpiredInstancesAreDeadRPCsSayThatNoneIsRegistered"},

	{"a hung instance keeps a request for all of its time", "discovery/httptransport/try.go", []string{
		"limit <= 0 || half < limit {", "false {",
	}, "discovery/httptransport", "TestAHungInstanceCostsNoRequestOnceItHasFailed"},
	{"503 is as good as an answer", "discovery/httptransport/try.go", []string{
		"	case err == nil && t.resp != nil && unavailable(t.resp):", "	case err == nil && t.resp != nil && false:",
	}, "discovery/httptransport", "TestAnInstanceThatAnswers503IsAvoided"},
	{"Retry-After is ignored", "discovery/httptransport/try.go", []string{
		"	value := h.Get(\"Retry-After\")\n", "	value := \"\"\n",
	}, "discovery/httptransport", "TestAnInstanceIsAvoidedForAsLongAsItAsks"},
	{"a date in Retry-After is compared with this clock", "discovery/httptransport/try.go", []string{
		"	now, errNow := http.ParseTime(h.Get(\"Date\"))\n", "	now, errNow := time.Now(), error(nil)\n",
	}, "discovery/httptransport", "TestAnInstanceIsAvoidedForAsLongAsItAsks"},
	{"with a closed client requests go on to the last list", "discovery/httptransport/service.go", []string{
		"err := t.closedError(name); err != nil", "err := t.closedError(name); err != nil && t.life.Err() != nil",
	}, "discovery/httptransport", "TestARequestSaysAtOnceThatTheEtcdClientWasClosed"},
	{"a request does not say that its list cannot come from a closed client", "discovery/httptransport/service.go", []string{
		"closed != nil", "closed != nil && s.transport.life.Err() != nil",
	}, "discovery/httptransport", "TestARequestThatWaitsForItsListEndsWithTheEtcdClient"},
	{"it is not said that those listed are only kept", "discovery/httptransport/failure.go", []string{
		"	if text, ok := explain.AllExpired(r.service.view); ok {", "	if text, ok := explain.AllExpired(r.service.view); ok && false {",
	}, "discovery/httptransport", "TestWhenExpiredInstancesAreDeadRequestsSayThatNoneIsRegistered"},
	{"what an instance answers is not quoted", "discovery/httptransport/try.go", []string{
		"what = quote.Line(t.err.Error(), maxCause)", "what = t.err.Error()",
	}, "discovery/httptransport", "TestWhatOthersWriteIsQuotedInErrors"},
	{"what is in etcd is not quoted", "discovery/httptransport/try.go", []string{
		"quote.Word(t.instance.ID)", "t.instance.ID",
	}, "discovery/httptransport", "TestWhatOthersWriteIsQuotedInErrors"},
}
