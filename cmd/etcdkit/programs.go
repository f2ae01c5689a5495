//go:build !etcdkit_client

package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// runEtcd and runEtcdctl become upstream's programs.
func runEtcd() { etcdmain.Main(os.Args) }

func runEtcdctl() {
	cobra.EnablePrefixMatching = true
	ctlv3.MustStart()
}
