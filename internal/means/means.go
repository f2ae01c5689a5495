// Package means is for tests of what a machine may lack: namespaces, a database server, a free port.
package means

import (
	"os"
	"testing"
)

// RequireEnv is the variable that CI sets: then a test that lacks its means fails.
const RequireEnv = "ETCDKIT_TEST_REQUIRE_ALL"

// Missing skips a test that lacks its means, or fails it where they are required.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format+"; with "+RequireEnv+"=1 that is a failure", args...)
}
