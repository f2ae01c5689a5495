package httptransport_test

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// A request by name and one to the address, in turns in the same loop.
func BenchmarkGet(b *testing.B) {
	s := newSite(b, nil)
	srv := s.serve("a", says("a"))
	s.until("a")
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	fetch := func(c *http.Client, url string) time.Duration {
		began := time.Now()
		resp, err := c.Get(url)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	byName := &http.Client{Transport: s.Transport}
	var raw, ours time.Duration
	for b.Loop() {
		raw += fetch(plain, srv.URL+"/path")
		ours += fetch(byName, "http://web/path")
	}
	b.ReportMetric(float64(raw.Microseconds())/float64(b.N), "raw-µs/op")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "byname-µs/op")
	b.ReportMetric(float64(ours)/float64(raw), "×raw")
}
