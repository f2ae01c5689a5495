// Package watch tells a command, or a person, what changes in etcd.
//
//	s, err := watch.Open(ctx, cli, "config/", "config0", 0)
//	defer s.Close()
//	for b, err := range s.Batches(ctx) { … } // each transaction, without a gap
//	job := &watch.Job{Source: s, Wrapped: reload.Wrapped{Args: []string{"./reload.sh"}, …}}
//	code, err := job.Run(ctx) // runs the command at each change
//
// The changes come from a mirror, so none is missed: where etcd has compacted away what was not seen yet, the keys
// are read again and compared. A Pending gathers what comes while a command runs: each key once, as the last
// change left it, with what it was before the first one. A key that came and went in between is not in it.
package watch
