package docs

import (
	"context"
	"database/sql"
	"net/http"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/etcdkit/etcdkit/lock"
)

var (
	m         *lock.Mutex
	h         *lock.Hold
	db        *sql.DB
	addr      string
	files     http.Handler
	lockOf    func(*http.Request) string
	req       *http.Request
	scheduled time.Time
)

func increment([]*mvccpb.KeyValue) string { return "" }

func nightly(context.Context, *lock.Hold) error { return nil }
