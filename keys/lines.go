package keys

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// longestLine bounds a line of an import: a value of 1.5 MiB takes 9 MiB at most.
const longestLine = 64 << 20

// recordReader reads records and checks them.
type recordReader struct {
	r    *bufio.Reader
	line int

	header  *Header        // nil: the file has none
	records int64          // so far
	last    Bytes          // with a header: keys are in order
	lines   map[string]int // without: where each key was
}

func newRecordReader(r io.Reader) *recordReader {
	return &recordReader{r: bufio.NewReaderSize(r, 64<<10), lines: make(map[string]int)}
}

// next returns the next record, or io.EOF at the end of a file that is complete.
func (r *recordReader) next() (*Record, error) {
	for {
		text, err := r.read()
		if errors.Is(err, io.EOF) {
			return nil, r.end()
		}
		if err != nil {
			return nil, err
		}
		first := r.records == 0 && r.header == nil
		if first && bytes.Contains(text, []byte(`"etcdkit_export"`)) {
			header := new(Header)
			if err := json.Unmarshal(text, header); err == nil {
				r.header = header
				continue
			} else if !bytes.Contains(text, []byte(`"key"`)) {
				return nil, r.errorf("%w", err)
			}
		}
		return r.record(text)
	}
}

// read returns the next line that is not empty.
func (r *recordReader) read() ([]byte, error) {
	for {
		r.line++
		var text []byte
		for {
			part, err := r.r.ReadSlice('\n')
			text = append(text, part...)
			if len(text) > longestLine {
				return nil, r.errorf("longer than %d bytes", longestLine)
			}
			if errors.Is(err, io.EOF) && len(text) > 0 || err == nil {
				break
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if !errors.Is(err, io.EOF) {
				err = errtext.Errorf("keys: import: read line %d: %w", r.line, err)
			}
			return nil, err
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			return text, nil
		}
	}
}

func (r *recordReader) record(text []byte) (*Record, error) {
	if text[0] == '[' {
		return nil, r.errorf("a JSON array: want one object a line, as jq -c '.[]' makes them")
	}
	record := new(Record)
	if err := json.Unmarshal(text, record); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || text[0] != '{' {
			return nil, r.errorf("%s is no JSON object: want one a line", quote.Text(string(text)))
		}
		return nil, r.errorf("%w", err)
	}
	if r.header != nil {
		if r.records > 0 && bytes.Compare(record.Key, r.last) <= 0 {
			return nil, r.errorf("key %s is not after the one before it: the file has been changed", quote.Text(string(record.Key)))
		}
		if r.records == r.header.Count {
			return nil, r.errorf("more than the %d records of the header: the file has been changed", r.header.Count)
		}
		if !bytes.HasPrefix(record.Key, r.header.Prefix) {
			return nil, r.errorf("key %s is not below the header's prefix %s: the file has been changed", quote.Text(string(record.Key)), quote.Text(string(r.header.Prefix)))
		}
		r.last = record.Key
	} else {
		if at, ok := r.lines[string(record.Key)]; ok {
			return nil, r.errorf("key %s was in line %d already", quote.Text(string(record.Key)), at)
		}
		r.lines[string(record.Key)] = r.line
	}
	r.records++
	return record, nil
}

// end is io.EOF, or what is missing.
func (r *recordReader) end() error {
	if r.header != nil && r.records != r.header.Count {
		return fmt.Errorf("%w: it ends after %d of %d records (line %d)", ErrIncomplete, r.records, r.header.Count, r.line)
	}
	return io.EOF
}

// errorf is an error about the present line.
func (r *recordReader) errorf(format string, args ...any) error {
	return errtext.New(fmt.Sprintf("keys: line %d: %s", r.line, errtext.Text(fmt.Errorf(format, args...))), ErrInvalid)
}
