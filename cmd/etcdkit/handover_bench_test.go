//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// begun is a command that says a word when it has begun, and ends when its input ends.
var begun = []string{"sh", "-c", "echo begun; exec cat"}

// startBegun starts a command whose output begins with a line, and sends the time of the line. end ends its input.
func startBegun(b *testing.B, cmd *exec.Cmd, at chan<- time.Time) (end func()) {
	b.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // ends with the command
		defer close(read)
		r := bufio.NewReader(out)
		if _, err := r.ReadString('\n'); err == nil {
			at <- time.Now()
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	b.Cleanup(func() {
		in.Close()
		<-read
		_ = cmd.Wait()
	})
	return func() { in.Close() }
}

// BenchmarkHandOver prints the figure: from the end of a holder's command to the beginning of the next process's,
// <= 3 × one Put and one fork.
func BenchmarkHandOver(b *testing.B) {
	const processes = 12
	cli := etcdtest.Client(b, etcdtest.NewCluster(b, &cluster.Options{Direct: true}))
	var handed, put, fork time.Duration
	for n := 0; b.Loop(); n++ {
		name, at := fmt.Sprint("job", n), make(chan time.Time, processes)
		var ends []func()
		for i := range processes { // one after the other: so is the queue
			cmd := onCluster(etcdkit(b, shortDir(b), append([]string{"lock", name, "--"}, begun...)...), cli)
			said := newTalk()
			cmd.Stderr = said
			ends = append(ends, startBegun(b, cmd, at))
			entries(b, cli, name, int64(i+1))
			if i > 0 {
				said.wait(b, "for lock") // it has all that a waiter needs by then
			}
		}
		<-at
		for i := range processes - 1 {
			began := time.Now()
			ends[i]()
			handed += (<-at).Sub(began)

			began = time.Now()
			end := startBegun(b, exec.Command(begun[0], begun[1:]...), at)
			fork += (<-at).Sub(began)
			end()

			began = time.Now()
			if _, err := cli.Put(context.Background(), "floor", "1"); err != nil {
				b.Fatal(err)
			}
			put += time.Since(began)
		}
		ends[processes-1]()
	}
	each := time.Duration(b.N * (processes - 1))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((handed/each).Seconds()*1000, "ms/hand-over")
	b.ReportMetric((fork/each).Seconds()*1000, "ms/fork")
	b.ReportMetric((put/each).Seconds()*1000, "ms/put")
	b.ReportMetric(float64(handed-fork)/float64(put), "×put")
}
