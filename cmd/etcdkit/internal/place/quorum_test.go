package place

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

func TestWhyTheMembersCannotBeListed(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	t.Setenv("ETCDKIT_ENDPOINTS", c.Endpoints()[0])
	for _, member := range []string{"etcd2", "etcd3"} {
		if _, err := c.Kill(t.Context(), member); err != nil {
			t.Fatal(err)
		}
	}
	hint := func(context.Context, []string) string { return "; look" }
	if _, err := Open(t.Context(), &Options{StatusHint: hint}); err == nil || !strings.Contains(err.Error(), "not with a quorum") || !strings.HasSuffix(err.Error(), "; look") {
		t.Errorf("got %v, want that there is no quorum", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), quorumTimeout/5)
	defer cancel()
	begin := time.Now()
	if _, err := Open(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "quorum") || time.Since(begin) > quorumTimeout {
		t.Errorf("got %v after %v, want the end of the context", err, time.Since(begin))
	}
}
