package health

// judge makes a status of one result after the other.
type judge struct {
	check  Check
	status Status

	// In a row: passes, failures, and those that were not one of the two.
	passes, failures, noFailures, noPasses int
}

// newJudge: a check is critical until something has passed. From this alone follows what a first
// result means.
func newJudge(c Check) judge { return judge{check: c, status: Critical} }

// hear takes a result and tells whether it has changed the status.
func (j *judge) hear(result Status) (changed bool) {
	switch result {
	case Passing:
		j.passes, j.failures, j.noFailures, j.noPasses = j.passes+1, 0, j.noFailures+1, 0
	case Warning:
		j.passes, j.failures, j.noFailures, j.noPasses = 0, 0, j.noFailures+1, j.noPasses+1
	default:
		j.passes, j.failures, j.noFailures, j.noPasses = 0, j.failures+1, 0, j.noPasses+1
	}
	was := j.status
	switch c := j.check; {
	case j.passes >= c.Passing:
		j.status = Passing
	case j.failures >= c.Failing:
		j.status = Critical
	case was == Passing && j.noPasses >= c.Warning, was == Critical && j.noFailures >= c.Passing:
		j.status = Warning
	}
	return j.status != was
}
