// Package services is the job that compares registry and discovery with go-zero's core/discov,
// go-kit's sd/etcdv3 and etcd's own naming packages, with clientv3 by itself as the floor.
//
// Each library is used as its own documentation says, with its defaults and a TTL of 10 s, which
// all of them have. A row is one file; a library is one file. What a library does not have, or
// what failed, is a cell that says so: no library ends the run.
package services
