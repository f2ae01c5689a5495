package lease_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestMain(m *testing.M) {
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}
