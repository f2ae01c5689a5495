// Package suite is what all jobs of bench have in common: the command line, the cluster, one row
// after the other, and the report.
//
//	var job = suite.Job{
//		Name: "services", About: "bench services measures …", Picture: "visible",
//		Rows: []suite.Row{{"visible", "from the call until a consumer lists it", visible}},
//	}
//	os.Exit(job.Run(ctx, args, os.Stdout, os.Stderr))
//
// Tables go to stdout, each when it is complete; how far the run is goes to stderr. A row that
// failed says so in its place, and the others go on. When ctx ends, the cluster is ended and its
// data removed before Run returns.
package suite
