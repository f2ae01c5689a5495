//go:build etcdkit_client

package main

import (
	"fmt"
	"os"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
)

// runEtcd and runEtcdctl say that upstream's programs are not here.
func runEtcd() { notHere("etcd") }

func runEtcdctl() { notHere("etcdctl") }

func notHere(program string) {
	fmt.Fprintf(os.Stderr, "etcdkit: this program was built without upstream's %s (tag etcdkit_client)\n", program)
	os.Exit(cli.ExitFailed)
}
