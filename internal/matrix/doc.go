// Package matrix tests every handle that a user can hold in every situation that can happen to it.
// It has no code of its own: promises_test.go is one table, rows are handles and columns are
// situations. Each column is one test, which runs every row against real etcd and compares what
// happens with the promise in the table. docs/reliability.md is written from the same table:
//
//	go test ./internal/matrix -run ThePage -update
package matrix
