package client_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) {
	// First, and before the environment is touched: a member of a test cluster
	// is this program again, told so by a variable, and does not return.
	tests := etcdtest.Main(m)
	for _, prefix := range []string{"ETCDKIT_", "ETCDCTL_"} { // the developer's own
		for _, setting := range []string{"ENDPOINTS", "CACERT", "CERT", "KEY", "USER", "PASSWORD"} {
			os.Unsetenv(prefix + setting)
		}
	}
	os.Unsetenv("ETCDKIT_INSECURE_PLAINTEXT_PASSWORD")
	os.Setenv("XDG_RUNTIME_DIR", os.DevNull) // and their dev clusters
	goleak.VerifyTestMain(tests)
}
