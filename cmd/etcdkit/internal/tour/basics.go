package tour

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func walkBasic(ctx context.Context, s *stage) error {
	p, err := s.start("basic")
	if err != nil {
		return err
	}
	out, err := p.wait(ctx)
	if err != nil {
		return err
	}
	s.check(strings.Contains(out, sampleKey+" = sample_value"), "the value read is the value put")
	return nil
}

func walkWatch(ctx context.Context, s *stage) error {
	args := []string{"-key", sampleKey}
	if s.Place.Own != nil { // a user's history is not thrown away
		past, err := s.compact(ctx)
		if err != nil {
			return err
		}
		args = append(args, "-rev", fmt.Sprint(past))
	}
	p, err := s.start("watch", args...)
	if err != nil {
		return err
	}
	defer p.kill()
	n := 0
	if s.Place.Own != nil {
		if n, err = p.waitFor(ctx, n, "compacted at revision"); err != nil {
			return err
		}
		s.check(true, "it asked for history that was compacted away, said so and went on")
	}
	if n, err = p.waitFor(ctx, n, "watching"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if _, err := s.Place.Client.Put(ctx, sampleKey, "changed"); err != nil {
		return err
	}
	if n, err = p.waitFor(ctx, n, fmt.Sprintf("PUT %q : %q", sampleKey, "changed")); err != nil {
		return err
	}
	if _, err := s.Place.Client.Delete(ctx, sampleKey); err != nil {
		return err
	}
	if _, err = p.waitFor(ctx, n, fmt.Sprintf("DELETE %q", sampleKey)); err != nil {
		return err
	}
	s.check(true, "it printed a put and a delete that others made")
	s.check(p.interrupt() == nil, "Ctrl-C ends it")
	return nil
}

// compact makes some history and throws it away; it returns a revision that is gone.
func (s *stage) compact(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var past int64
	for i := range 3 {
		resp, err := s.Place.Client.Put(ctx, sampleKey, fmt.Sprint("old ", i))
		if err != nil {
			return 0, err
		}
		if past == 0 {
			past = resp.Header.Revision
		}
	}
	_, err := s.Place.Client.Compact(ctx, past+2, clientv3.WithCompactPhysical())
	return past, err
}

func walkLease(ctx context.Context, s *stage) error {
	begin := time.Now()
	p, err := s.start("lease")
	if err != nil {
		return err
	}
	defer p.kill()
	if _, err := p.waitFor(ctx, 0, "TTL"); err != nil {
		return err
	}
	done := s.waiting("the lease runs out after 5s")
	out, err := p.wait(ctx)
	done()
	if err != nil {
		return err
	}
	s.check(strings.Contains(out, leaseKey+" gone"), "the key went with its lease")
	s.check(time.Since(begin) >= 5*time.Second, "and not before its 5 s were over")
	return nil
}
