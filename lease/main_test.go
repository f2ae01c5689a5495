package lease_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // unless -parallel is given: they wait for most of the time
	goleak.VerifyTestMain(etcdtest.Main(m))
}
