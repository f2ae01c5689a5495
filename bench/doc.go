// Command bench compares etcdkit with its peers, each job in one run against one cluster of
// three processes that it starts and ends itself.
//
//	go -C bench run . services            # registry and discovery; a table on stdout
//	go -C bench run . services -quick     # a smoke run, under a minute
//	go -C bench run . services -o json
//	go -C bench run . locks               # the lock; also redis-server's and zookeeper's, if installed
//
// It is a module of its own, so that the peers never enter etcdkit's go.mod.
package main
