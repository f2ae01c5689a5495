// Package devctl is how a running etcdkit dev is found, asked and told what to do.
//
//	stop, err := devctl.Serve(c, told)           // the terminal in which it runs
//	k, err := devctl.Find(ctx, 0, nil)           // another one
//	change, err := k.Fault(ctx, "kill", []string{"leader"})
//
// A running dev cluster listens on a unix socket (sockets.go). Requests and replies are JSON over HTTP.
package devctl
