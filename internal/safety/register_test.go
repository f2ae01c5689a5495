package safety_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// thinking bounds the search for the order of one register's operations. A history that takes
// longer is not one that was shown to be right.
const thinking = 20 * time.Second

// registerState is a register that refuses tokens which a newer one has ended.
type registerState struct {
	value  string
	writer int64 // the newest token of a writer
	newest int64 // the newest of any
}

// registerOp is an operation on it. One under a token that shares is a read.
type registerOp struct {
	op
	shared bool
}

// fencedRegister is its model. Who writes was alone: no newer token was seen before. Who shares may
// come after newer ones that share, not after a newer writer. A refused operation has no part in it:
// etcd may refuse a token that ended although there is no newer one yet. A read without a token sees
// the value.
func fencedRegister() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return registerState{} },
		Step: func(state, input, _ any) (bool, any) {
			s, o := state.(registerState), input.(registerOp)
			if o.Token != 0 {
				if o.Token < s.writer || o.Token < s.newest && !o.shared {
					return o.Outcome == info, s // refused: right, unless a worker was told that it was not
				}
				s.newest = max(s.newest, o.Token)
				if !o.shared {
					s.writer = o.Token
				}
			}
			if o.Op == read {
				return o.Value == s.value, s
			}
			s.value = o.Value
			return true, s
		},
		DescribeOperation: func(input, _ any) string {
			o := input.(registerOp)
			return fmt.Sprintf("%s %s %q with %d: %s", o.Worker, o.Op, o.Value, o.Token, o.Outcome)
		},
		DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// linearizable: each register's history is one of its model. thinking bounds the search in each.
// Pictures of those that are not go to the directory, if there is one. (The holders of a Semaphore
// together write as they like.)
func linearizable(e *evidence, thinking time.Duration, pictures string) error {
	var found findings
	byKey := make(map[string][]registerOp)
	for _, s := range exclusive {
		queue := turns(e.events, s)
		for _, o := range e.ops {
			if strings.HasPrefix(o.Key, s.registers()) {
				q := queue[o.Token]
				byKey[o.Key] = append(byKey[o.Key], registerOp{o, q != nil && q.shared})
			}
		}
	}
	for key, ops := range byKey {
		if len(found) >= shown {
			break // each may take its time
		}
		result, information := porcupine.CheckOperationsVerbose(fencedRegister(), operations(ops), thinking)
		if result == porcupine.Ok {
			continue
		}
		err := fmt.Errorf("%s with %d operations: %s", key, len(ops), result)
		if pictures != "" {
			file := filepath.Join(pictures, strings.ReplaceAll(key, "/", "-")+".html")
			err = errors.Join(err, porcupine.VisualizePath(fencedRegister(), information, file))
		}
		found = append(found, err)
	}
	return found.err()
}

// operations are a register's as the checker takes them: a write without an answer may happen at
// any time, and is a client by itself, as its worker goes on; a read without one says nothing.
func operations(ops []registerOp) []porcupine.Operation {
	slices.SortFunc(ops, func(a, b registerOp) int { return cmp.Compare(a.Call, b.Call) })
	clients := make(map[string]int)
	client := func(name string) int {
		if _, known := clients[name]; !known {
			clients[name] = len(clients)
		}
		return clients[name]
	}
	var all []porcupine.Operation
	for _, o := range ops {
		switch {
		case o.Outcome == ok:
			all = append(all, porcupine.Operation{ClientId: client(o.Worker), Input: o, Call: o.Call, Return: o.Return})
		case o.Outcome == info && o.Op == write:
			all = append(all, porcupine.Operation{ClientId: client(fmt.Sprint(o.Worker, ".", o.N)), Input: o, Call: o.Call, Return: math.MaxInt64})
		}
	}
	return all
}
