package report

import (
	"math"
	"slices"
	"time"
)

// Sample is what repeated measurements gave, in seconds.
type Sample []float64

// Add adds a measurement.
func (s *Sample) Add(d time.Duration) { *s = append(*s, d.Seconds()) }

// Quantile is the value that a portion p of the sample, from 0 to 1, does not exceed: always one
// that was measured (nearest rank). NaN without a sample.
func (s Sample) Quantile(p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(p*float64(len(s)))) - 1
	return sorted[min(max(rank, 0), len(s)-1)]
}

// Median is Quantile(0.5).
func (s Sample) Median() float64 { return s.Quantile(0.5) }

// Mean is NaN without a sample.
func (s Sample) Mean() float64 {
	var sum float64
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}

// Distribution is a sample as a Report keeps it: its percentiles from 0 to 100.
type Distribution struct {
	Name        string     `json:"name"`
	Chart       string     `json:"chart"` // which picture it belongs in
	N           int        `json:"n"`
	Percentiles []Quantile `json:"percentiles"`
}

// Quantile is a point of a Distribution.
type Quantile struct {
	P       float64 `json:"p"`
	Seconds float64 `json:"s"`
}

// Distribute reduces a sample to its percentiles.
func Distribute(chart, name string, s Sample) Distribution {
	d := Distribution{Name: name, Chart: chart, N: len(s)}
	if len(s) == 0 {
		return d
	}
	sorted := Sample(slices.Sorted(slices.Values(s)))
	for p := 0; p <= 100; p++ {
		d.Percentiles = append(d.Percentiles, Quantile{float64(p), sorted.Quantile(float64(p) / 100)})
	}
	return d
}
