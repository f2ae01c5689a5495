package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// step is one stop of the tour.
type step struct {
	Name     string   `json:"name"`
	Shows    string   `json:"shows"`
	Commands []string `json:"commands"`
	Output   []string `json:"output"` // lines
	// Data is what a step that asks etcdctl for a table was told, as etcdctl writes it with -w json.
	Data   json.RawMessage `json:"data,omitempty"`
	Checks []check         `json:"checks"`
	Took   seconds         `json:"took_s"`

	walk func(context.Context, *tour, *step) error
	wide []string // the columns to show of a table that is too wide; Output has all

	mu sync.Mutex // guards Output while programs run side by side
}

// heard takes a line that a program of the step said.
func (s *step) heard(u *ui, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.silent && strings.ContainsFunc(line, isDrawing) {
		return // a picture is for people
	}
	s.Output = append(s.Output, line)
	if s.wide == nil {
		u.line(line)
	}
}

// isDrawing tells what lines, frames and curves are drawn with.
func isDrawing(r rune) bool { return r >= '\u2500' && r <= '\u259f' || r >= '\u2800' && r <= '\u28ff' }

// check is an expectation and whether it held.
type check struct {
	Expected string `json:"expected"`
	OK       bool   `json:"ok"`
}

func (s *step) check(ok bool, format string, args ...any) {
	s.Checks = append(s.Checks, check{fmt.Sprintf(format, args...), ok})
}

// checks are the three commands by which the original text checks a cluster.
func checks() []*step {
	return []*step{
		{Name: "cluster: status", Shows: "Every member, who leads, and the raft term that they agree on (5 of 16 columns).", walk: walkStatus, wide: []string{"ENDPOINT", "ID", "VERSION", "IS LEADER", "RAFT TERM"}},
		{Name: "cluster: health", Shows: "Each member commits a proposal of its own.", walk: walkHealth},
		{Name: "cluster: keys", Shows: "All keys.", walk: walkKeys},
	}
}

// walks are the six examples.
func walks() []*step {
	return []*step{
		{Name: "1 basic", Shows: "Put a key and get it back. The header tells who answered, at which revision.", walk: walkBasic},
		{Name: "2 watch", Shows: "Hear of every change of a key, and be told where a compaction took some away.", walk: walkWatch},
		{Name: "3 lease", Shows: "A key that ends with its lease, unless a process keeps it alive.", walk: walkLease},
		{Name: "4 service register", Shows: "A service announces itself, comes back by itself when its lease is lost, and\nwithdraws itself when it is interrupted.", walk: walkRegister},
		{Name: "5 service discovery", Shows: "Whoever looks for services sees them come and go; this one is killed with kill -9,\nso its lease has to end first.", walk: walkDiscovery},
		{Name: "6 distributed lock", Shows: "One process adds, another subtracts, 50 times each. The counter should end at 0.", walk: walkLock},
	}
}

func walkStatus(ctx context.Context, t *tour, s *step) error {
	out, err := t.table(ctx, s, "endpoint", "status", "--cluster")
	if err != nil {
		return err
	}
	var of []struct {
		Status struct {
			Header struct {
				MemberID uint64 `json:"member_id"`
			}
			Leader uint64
		}
	}
	if s.Data != nil {
		err = json.Unmarshal(s.Data, &of)
	}
	answer, lead := strings.Count(out, "http"), strings.Count(columns(out, "IS LEADER"), " true ")
	if s.Data != nil {
		answer = len(of)
		for _, m := range of {
			if m.Status.Header.MemberID == m.Status.Leader {
				lead++
			}
		}
	}
	noun := "members answer"
	if t.members == 1 {
		noun = "member answers"
	}
	s.check(answer == t.members, "%d %s", t.members, noun)
	s.check(lead == 1, "exactly one leads")
	return err
}

// table asks etcdctl for a table. With -o json it is data instead, and goes to s.Data.
func (t *tour) table(ctx context.Context, s *step, args ...string) (out string, err error) {
	form := "table"
	if t.ui.silent {
		form = "json"
	}
	p, err := t.etcdctl(s, append(args, "-w", form)...)
	if err != nil {
		return "", err
	}
	out, err = p.wait(ctx)
	if t.ui.silent && json.Valid([]byte(out)) {
		s.Data, s.Output = json.RawMessage(out), nil
	}
	return out, err
}

// columns cuts all but some columns out of a table of etcdctl's: its status has 16 of them and
// is 245 characters wide. Lines without a frame stay as they are.
func columns(table string, keep ...string) string {
	var from, to []int // of the columns kept, with the frame on their left
	var out []string
	for line := range strings.Lines(table) {
		cells := []rune(strings.TrimSuffix(line, "\n"))
		if from == nil && strings.HasPrefix(line, "│") {
			from, to = edges(cells, keep)
			for i := range out { // the frame above the heading
				out[i] = pick([]rune(out[i]), from, to)
			}
		}
		out = append(out, pick(cells, from, to))
	}
	return strings.Join(out, "\n")
}

func edges(heading []rune, keep []string) (from, to []int) {
	last := 0
	for i, r := range heading {
		if r == '│' && i > 0 {
			if slices.Contains(keep, strings.TrimSpace(string(heading[last+1:i]))) {
				from, to = append(from, last), append(to, i)
			}
			last = i
		}
	}
	return from, to
}

func pick(line []rune, from, to []int) string {
	if len(from) == 0 || len(line) <= to[len(to)-1] {
		return string(line)
	}
	var b strings.Builder
	for i := range from {
		left := line[from[i]]
		if i == 0 {
			left = line[0]
		}
		b.WriteRune(left)
		b.WriteString(string(line[from[i]+1 : to[i]]))
	}
	b.WriteRune(line[len(line)-1])
	return b.String()
}

func walkHealth(ctx context.Context, t *tour, s *step) error {
	out, err := t.table(ctx, s, "endpoint", "health", "--cluster")
	healthy := strings.Count(out, " true ") + strings.Count(out, `"health":true`)
	of := fmt.Sprintf("all %d are healthy", t.members)
	if t.members == 1 {
		of = "the only one is healthy"
	}
	s.check(err == nil && healthy == t.members, "%s", of)
	return nil
}

func walkKeys(ctx context.Context, t *tour, s *step) error {
	p, err := t.etcdctl(s, "get", "--prefix", "--keys-only", "")
	if err != nil {
		return err
	}
	out, err := p.wait(ctx)
	if err != nil {
		return err
	}
	if t.own != nil {
		s.check(strings.TrimSpace(out) == "", "a new cluster has none")
		return nil
	}
	s.check(true, "etcdctl reads them")
	return nil
}

func walkBasic(ctx context.Context, t *tour, s *step) error {
	p, err := t.start(s, "basic")
	if err != nil {
		return err
	}
	out, err := p.wait(ctx)
	if err != nil {
		return err
	}
	s.check(strings.Contains(out, "sample_keys = sample_value"), "the value read is the value put")
	return nil
}

func walkWatch(ctx context.Context, t *tour, s *step) error {
	args := []string{"-key", "sample_keys"}
	if t.own != nil { // nobody else's history is thrown away
		past, err := t.compact(ctx)
		if err != nil {
			return err
		}
		args = append(args, "-rev", fmt.Sprint(past))
	}
	p, err := t.start(s, "watch", args...)
	if err != nil {
		return err
	}
	defer p.kill()
	n := 0
	if t.own != nil {
		if n, err = p.says(ctx, n, "compacted at revision"); err != nil {
			return err
		}
		s.check(true, "it asked for history that was compacted away, said so and went on")
	}
	if n, err = p.says(ctx, n, "watching"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if _, err := t.cli.Put(ctx, "sample_keys", "changed"); err != nil {
		return err
	}
	if n, err = p.says(ctx, n, `PUT "sample_keys" : "changed"`); err != nil {
		return err
	}
	if _, err := t.cli.Delete(ctx, "sample_keys"); err != nil {
		return err
	}
	if _, err = p.says(ctx, n, `DELETE "sample_keys"`); err != nil {
		return err
	}
	s.check(true, "it printed a put and a delete that others made")
	s.check(p.interrupt() == nil, "Ctrl-C ends it")
	return nil
}

// compact makes some history and throws it away; it returns a revision that is gone.
func (t *tour) compact(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var past int64
	for i := range 3 {
		resp, err := t.cli.Put(ctx, "sample_keys", fmt.Sprint("old ", i))
		if err != nil {
			return 0, err
		}
		if past == 0 {
			past = resp.Header.Revision
		}
	}
	_, err := t.cli.Compact(ctx, past+2, clientv3.WithCompactPhysical())
	return past, err
}

func walkLease(ctx context.Context, t *tour, s *step) error {
	begin := time.Now()
	p, err := t.start(s, "lease")
	if err != nil {
		return err
	}
	if _, err := p.says(ctx, 0, "TTL"); err != nil {
		return err
	}
	done := t.ui.waiting("the lease runs out after 5s")
	out, err := p.wait(ctx)
	done()
	if err != nil {
		return err
	}
	s.check(strings.Contains(out, "fooForLease gone"), "the key went with its lease")
	s.check(time.Since(begin) >= 5*time.Second, "and not before its 5 s were over")
	return nil
}

const serviceKey = "/web/node1"

func walkRegister(ctx context.Context, t *tour, s *step) error {
	p, err := t.start(s, "sr")
	if err != nil {
		return err
	}
	defer p.kill()
	n, err := p.says(ctx, 0, "success!")
	if err != nil {
		return err
	}
	getCtx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	resp, err := t.cli.Get(getCtx, serviceKey)
	if err != nil {
		return err
	}
	there := len(resp.Kvs) == 1 && string(resp.Kvs[0].Value) == "value-2379" && resp.Kvs[0].Lease != 0
	if s.check(there, "%s = value-2379 is there, on a lease", serviceKey); !there {
		return nil
	}
	if _, err := t.cli.Revoke(getCtx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		return err
	}
	revoked := time.Now()
	if _, err := p.says(ctx, n, "registered again"); err != nil {
		return err
	}
	s.check(true, "its lease was revoked and its key deleted; it registered again after %.2fs", time.Since(revoked).Seconds())
	if err := p.interrupt(); err != nil {
		return err
	}
	resp, err = t.cli.Get(getCtx, serviceKey)
	if err != nil {
		return err
	}
	s.check(len(resp.Kvs) == 0, "after Ctrl-C it is gone at once")
	return nil
}

func walkDiscovery(ctx context.Context, t *tour, s *step) error {
	sd, err := t.start(s, "sd")
	if err != nil {
		return err
	}
	defer sd.kill()
	n, err := sd.says(ctx, 0, "services: []")
	if err != nil {
		return err
	}
	sr, err := t.start(s, "sr", "-val", "localhost:2379")
	if err != nil {
		return err
	}
	defer sr.kill()
	if n, err = sd.says(ctx, n, serviceKey+"=localhost:2379"); err != nil {
		return err
	}
	s.check(true, "it lists the service when it comes")
	if _, err := sr.says(ctx, 0, "success!"); err != nil {
		return err
	}
	second, err := t.start(s, "sr", "-val", "localhost:2379")
	if err != nil {
		return err
	}
	defer second.kill()
	done := t.ui.waiting("the second one looks whether the first one renews its lease")
	out, err := second.wait(ctx)
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	told := strings.Contains(out, fmt.Sprintf("registered by another process: pid %d on host", sr.cmd.Process.Pid))
	s.check(err != nil && told, "a second service of that name is told who has it, and fails")
	sr.kill()
	killed := time.Now()
	done = t.ui.waiting("the lease of the killed service runs out after 5s")
	_, err = sd.says(ctx, n, "services: []")
	done()
	if err != nil {
		return err
	}
	s.check(true, "it takes the service off %.1fs after it was killed, when its lease ended", time.Since(killed).Seconds())
	s.check(sd.interrupt() == nil, "Ctrl-C ends it")
	return nil
}

func walkLock(ctx context.Context, t *tour, s *step) error {
	p, err := t.start(s, "concurrency-by-distributed-lock", "-n", "50")
	if err != nil {
		return err
	}
	out, err := p.wait(ctx)
	if err != nil {
		return err
	}
	ends := regexp.MustCompile(`(?m)^(without lock|lock of clientv3|lock of etcdkit): +counter +(-?\d+).* (\d+) of 100 updates lost · ([\d.]+) ms`).FindAllStringSubmatch(out, -1)
	if len(ends) != 3 {
		return fmt.Errorf("no results in the output of %s", p.name)
	}
	s.check(ends[0][3] != "0", "without a lock updates are lost: %s of 100", ends[0][3])
	for _, end := range ends[1:] {
		s.check(end[2] == "0" && end[3] == "0", "with the %s none is, and the counter ends at 0, after %s ms an update", end[1], end[4])
	}
	return nil
}
