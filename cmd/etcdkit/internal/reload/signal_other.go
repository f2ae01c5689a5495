//go:build !unix

package reload

import (
	"errors"
	"os"
)

func parseSignal(string) (os.Signal, error) {
	return nil, errors.New("this system has no signals: use restart")
}
