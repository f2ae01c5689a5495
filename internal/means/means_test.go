package means_test

import (
	"net"
	"testing"

	"github.com/etcdkit/etcdkit/internal/means"
)

func TestTheDefaultPortIsFreeAndOneTestHasItAtATime(t *testing.T) {
	for range 2 { // the first one has given it back
		t.Run("", func(t *testing.T) {
			means.DefaultPort(t)
			l, err := net.Listen("tcp", "127.0.0.1:2379")
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		})
	}
}
