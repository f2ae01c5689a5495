// Package render keeps files up to date that are made from templates and what etcd has.
//
//	t, err := render.Parse("haproxy.tmpl:/etc/haproxy/haproxy.cfg")
//	job := &render.Job{Client: cli, Templates: []*render.Template{t}, Check: "haproxy -c -f {}", Exec: "systemctl reload haproxy"}
//	err = job.Run(ctx)
//
// A template is one of text/template. What it depends on is found by executing it: each service, key and prefix that
// it asks for is followed from then on, and when one changes all templates are executed again. A dependency that
// the last execution did not need is given up.
//
// # What is written, and when
//
//   - Nothing is written from what etcd has not confirmed. While one dependency is stale the files stay as they are.
//   - All templates of one execution see each dependency at one revision. Different dependencies can be at
//     different ones: keys that belong together are read together with tree or keys.
//   - All outputs are made first, and checked. If one cannot be made, or its check fails, none is replaced.
//   - Each is replaced in one step and keeps its mode and owner. One that would not change is not written, and when
//     none changes nothing is executed.
//
// The package is internal to the command. A Go program that wants a template of what etcd has can execute one on a
// mirror.Snapshot or a discovery.View; what this package adds is for programs in other languages: files, checks
// and reloads.
package render
