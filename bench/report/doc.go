// Package report holds what a run found, and tells it: as aligned tables, as Markdown for a page,
// as JSON with everything in it, as a picture of distributions; and, while the run lasts, how far
// it is.
//
//	g := report.Group{Name: "visible", Title: "register → visible", Columns: []string{"p50", "× raw"}}
//	g.Add("etcdkit", report.Seconds(s.Quantile(0.5)), report.Ratio(1.13).AtMost(1.2))
//	g.Add("peer", report.Words("not measured", err.Error()))
//
// A figure that could not be taken is a cell, too: its words say so, and the reason stands below
// the table.
package report
