package report

import (
	"fmt"
	"math"
	"strconv"
)

// Unit of a figure.
type Unit string

const (
	Second Unit = "s"
	Byte   Unit = "B"
	Times  Unit = "×"
	Share  Unit = "%"
	One    Unit = "" // a number of something that the column names
)

// Cell is a figure, or the words that stand in its place.
type Cell struct {
	Value float64 `json:"value"`
	Unit  Unit    `json:"unit,omitempty"`
	Bound *Bound  `json:"bound,omitempty"`
	Words string  `json:"words,omitempty"` // in place of a figure
	Why   string  `json:"why,omitempty"`   // told below the table
}

// Bound is what a figure has to hold.
type Bound struct {
	Is    string  `json:"is"` // "<=", ">=" or "="
	Limit float64 `json:"limit"`
	Held  bool    `json:"held"`
}

// Seconds is a time.
func Seconds(s float64) Cell { return Cell{Value: s, Unit: Second} }

// Bytes is a size.
func Bytes(n float64) Cell { return Cell{Value: n, Unit: Byte} }

// Ratio is how many times as much as the floor of the same run.
func Ratio(x float64) Cell { return Cell{Value: x, Unit: Times} }

// RatioOf is a value's ratio to the floor of the same run, if there is one.
func RatioOf(value, floor float64) Cell {
	if !(floor > 0) { // NaN, too
		return Words("—", "the floor could not be measured")
	}
	return Ratio(value / floor)
}

// Percent is how many of a hundred.
func Percent(x float64) Cell { return Cell{Value: x, Unit: Share} }

// Count is a number of what the column names.
func Count(n float64) Cell { return Cell{Value: n, Unit: One} }

// Words are what there is to say where there is no figure; why, if not empty, is told below.
func Words(words, why string) Cell { return Cell{Words: words, Why: why} }

// Failed is a figure that could not be taken.
func Failed(err error) Cell { return Words("not measured", err.Error()) }

// AtMost holds the figure to a bound.
func (c Cell) AtMost(limit float64) Cell {
	c.Bound = &Bound{"<=", limit, c.Value <= limit}
	return c
}

// AtLeast holds the figure to a bound.
func (c Cell) AtLeast(limit float64) Cell {
	c.Bound = &Bound{">=", limit, c.Value >= limit}
	return c
}

// Exactly holds the figure to one value.
func (c Cell) Exactly(value float64) Cell {
	c.Bound = &Bound{"=", value, c.Value == value}
	return c
}

// Because adds what is to be told below the table.
func (c Cell) Because(why string) Cell {
	c.Why = why
	return c
}

// String is the cell as people read it: "1.13 × ✓".
func (c Cell) String() string {
	if c.Words != "" {
		return c.Words
	}
	text := format(c.Value, c.Unit)
	if c.Bound != nil {
		mark := "✗"
		if c.Bound.Held {
			mark = "✓"
		}
		text += " " + mark
	}
	return text
}

// text is the bound as people read it: "≤ 1.2 ×".
func (b *Bound) text(u Unit) string {
	sign := map[string]string{"<=": "≤", ">=": "≥"}[b.Is]
	if sign == "" {
		sign = b.Is
	}
	return sign + " " + format(b.Limit, u)
}

// format writes a figure with three digits, in the unit that fits its size.
func format(v float64, u Unit) string {
	switch u {
	case Second:
		return scaled(v, 1000, []string{"s", "ms", "µs", "ns"}, 1)
	case Byte:
		for _, unit := range []string{"B", "kB", "MB"} {
			if math.Abs(v) < 1000 {
				return digits(v) + " " + unit
			}
			v /= 1000
		}
		return digits(v) + " GB"
	case Times:
		return digits(v) + " ×"
	case Share:
		return digits(v) + " %"
	}
	return digits(v)
}

// scaled goes to ever smaller units until the figure is at least least.
func scaled(v, step float64, units []string, least float64) string {
	for v != 0 && len(units) > 1 && math.Abs(v) < least {
		v *= step
		units = units[1:]
	}
	return digits(v) + " " + units[0]
}

// digits rounds to three digits, and whole numbers from 1,000 on.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e6:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return fmt.Sprintf("%.2g", v)
}
