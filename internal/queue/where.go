package queue

import (
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Where adds to an error of a call which endpoints were asked, and, while no member can be reached, why.
func Where(cli *clientv3.Client, err error) error {
	if named := (*ask.Unanswered)(nil); errors.As(err, &named) {
		return err // by the lease
	}
	if away := ask.Of(cli).Outage(); away != nil && !ask.Answer(err) {
		return fmt.Errorf("%w (%w)", away, err)
	}
	return fmt.Errorf("%w (endpoints %q)", err, cli.Endpoints())
}
