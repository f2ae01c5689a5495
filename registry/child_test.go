package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/registry"
)

// The test binary, executed again with childEnv, registers and stays until it is killed or its
// standard input ends.
const childEnv = "ETCDKIT_REGISTRY_CHILD"

type childJob struct {
	Endpoints []string
	Prefix    string
	IDs       []string
	TTL       time.Duration
	Exec      bool // replace the program by itself, once, when registered
}

func runChild() (status int) {
	var j childJob
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &j); err != nil {
		fmt.Println(err)
		return 1
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: j.Endpoints, Logger: zap.NewNop()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	r, err := registry.New(cli, &registry.Options{Prefix: j.Prefix, TTL: j.TTL})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var all []registry.Instance
	for _, id := range j.IDs {
		all = append(all, web(id))
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	if _, err := r.Register(ctx, all...); err != nil {
		fmt.Println(err)
		return 1
	}
	if j.Exec {
		j.Exec = false
		env, _ := json.Marshal(j)
		if err = os.Setenv(childEnv, string(env)); err == nil {
			err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		}
		fmt.Println(err)
		return 1
	}
	fmt.Println("registered", int64(time.Since(began)))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}
