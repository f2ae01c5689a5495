package tour

import (
	"context"
	"fmt"
	"regexp"
)

func walkLock(ctx context.Context, s *stage) error {
	p, err := s.start("concurrency-by-distributed-lock", "-n", "50")
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
		s.check(end[2] == "0" && end[3] == "0", "with the %s none is: the counter ends at 0, %s ms an update", end[1], end[4])
	}
	return nil
}
