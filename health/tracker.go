package health

// statusTracker derives a check's status from its results.
type statusTracker struct {
	check  Check
	status Status

	// In a row: passes, failures, results that are not failures, and results that are not passes.
	passes, failures, noFailures, noPasses int
}

// newStatusTracker begins as critical: a check is critical until it has passed.
func newStatusTracker(c Check) statusTracker { return statusTracker{check: c, status: Critical} }

// add adds a result, and reports whether it has changed the status.
func (t *statusTracker) add(result Status) (changed bool) {
	switch result {
	case Passing:
		t.passes, t.failures, t.noFailures, t.noPasses = t.passes+1, 0, t.noFailures+1, 0
	case Warning:
		t.passes, t.failures, t.noFailures, t.noPasses = 0, 0, t.noFailures+1, t.noPasses+1
	default:
		t.passes, t.failures, t.noFailures, t.noPasses = 0, t.failures+1, 0, t.noPasses+1
	}
	was := t.status
	switch c := t.check; {
	case t.passes >= c.PassingAfter:
		t.status = Passing
	case t.failures >= c.CriticalAfter:
		t.status = Critical
	case was == Passing && t.noPasses >= c.WarningAfter, was == Critical && t.noFailures >= c.PassingAfter:
		t.status = Warning
	}
	return t.status != was
}
