package cluster_test

import (
	"testing"

	"github.com/etcdkit/etcdkit/cluster"
)

// The figures of the README: from Start to a linearizable put through every member. There is
// no raw floor to compare with: what they hold is a bound (1.0 s and 0.6 s).
func BenchmarkStart(b *testing.B) {
	for name, opts := range map[string]cluster.Options{
		"three processes":     {AnyPort: true},
		"three in process":    {AnyPort: true, InProcess: true},
		"one in this process": {AnyPort: true, InProcess: true, Members: 1},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := cluster.Start(b.Context(), &opts)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
