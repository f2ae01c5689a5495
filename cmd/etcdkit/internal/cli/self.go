package cli

import (
	"os"
	"path/filepath"
	"strings"
)

// runFromCheckout is how this program is called with only a checkout and Go.
const runFromCheckout = "go run ./cmd/etcdkit"

// self is how this program was called, for messages that name a next step.
func self() string {
	if exe, err := os.Executable(); err == nil {
		for element := range strings.SplitSeq(filepath.ToSlash(exe), "/") {
			if strings.HasPrefix(element, "go-build") { // go run's
				return runFromCheckout
			}
		}
	}
	return os.Args[0]
}
