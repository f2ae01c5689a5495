package out

import (
	"io"
	"strconv"
	"strings"
)

// Record is one thing that a command prints, in each format.
type Record struct {
	Row   []Cell // of a table; texts from etcd went through Safe
	Line  string // of a stream, for people; texts from etcd went through Safe
	Value []byte // as it is
	Exact bool   // Value is data: Record prints it without a newline at its end
	JSON  any
}

// Records prints records one after the other.
type Records struct {
	p       *Printer
	format  Format
	heading []string
	rows    [][]Cell // of a table, whose columns are known at its end
	stream  bool
	n       int
}

// Records prints a list: a table with headings, a JSON array, or one record a line.
func (p *Printer) Records(f Format, headings ...string) *Records {
	return &Records{p: p, format: f, heading: headings}
}

// Stream prints records that come in the course of time, each at once.
func (p *Printer) Stream(f Format) *Records { return &Records{p: p, format: f, stream: true} }

// Record prints one thing alone. A newline ends its Value, except an exact one: that is printed to the byte, but on
// a terminal, which gets all values made harmless.
func (p *Printer) Record(f Format, headings []string, record Record) error {
	if f.Is(Value) {
		if terminal(p.stdout) != nil {
			return p.Printf("%s\n", strings.TrimSuffix(SafeText(string(record.Value)), "\n"))
		}
		if record.Exact {
			return p.write(record.Value)
		}
		return p.write(append(record.Value[:len(record.Value):len(record.Value)], '\n'))
	}
	r := p.Records(f, headings...)
	if f.Is(JSON) {
		r.stream = true // not an array
	}
	if err := r.Add(record); err != nil {
		return err
	}
	return r.Close()
}

// Add prints a record, or keeps it for the table.
func (r *Records) Add(record Record) error {
	r.n++
	switch r.format.name {
	case Value:
		value := record.Value
		if terminal(r.p.stdout) != nil {
			value = []byte(SafeText(string(value)))
		}
		return r.p.write(append(value[:len(value):len(value)], '\n'))
	case Template:
		text, err := r.format.execute(record.JSON)
		if err != nil {
			return err
		}
		if terminal(r.p.stdout) != nil {
			text = []byte(SafeText(string(text)))
		}
		return r.p.write(append(text, '\n'))
	case JSON, JSONL:
		return r.addJSON(record.JSON)
	}
	if r.stream {
		return r.p.Printf("%s\n", record.Line)
	}
	r.rows = append(r.rows, record.Row)
	return nil
}

func (r *Records) addJSON(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	before, after := "", "\n"
	if r.format.Is(JSON) && !r.stream {
		before, after = ",\n", ""
		if r.n == 1 {
			before = "[\n"
		}
	}
	return r.p.write([]byte(before + string(text) + after))
}

// Close prints what is left: the table, or the end of the array. A list without a record is an array without
// an element, and no table.
func (r *Records) Close() error {
	switch {
	case r.stream:
		return nil
	case r.format.Is(JSON) && r.n == 0:
		return r.p.Printf("[]\n")
	case r.format.Is(JSON):
		return r.p.Printf("\n]\n")
	case !r.format.Is(Table) || r.n == 0:
		return nil
	}
	rows := [][]Cell{nil}
	for _, h := range r.heading {
		rows[0] = append(rows[0], Cell{Text: h, Colour: Faint})
	}
	columns := 0
	if f := terminal(r.p.stdout); f != nil {
		columns, _ = size(f)
	}
	return r.p.Printf("%s", r.p.Palette.Fit(append(rows, r.rows...), columns))
}

// write writes to stdout as it is.
func (p *Printer) write(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack()
	_, err := p.stdout.Write(b)
	return err
}

// IsTerminal tells whether a stream of the process is a terminal.
func IsTerminal(stream any) bool {
	w, ok := stream.(io.Writer) // as an *os.File is, also where it is read
	return ok && terminal(w) != nil
}

// Hex is an id of a lease, a member or a cluster, as etcdctl prints it.
func Hex[ID ~int64 | ~uint64](id ID) string {
	return strconv.FormatUint(uint64(id), 16)
}
