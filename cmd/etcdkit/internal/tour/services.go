package tour

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func walkRegister(ctx context.Context, s *stage) error {
	p, err := s.start("sr")
	if err != nil {
		return err
	}
	defer p.kill()
	n, err := p.waitFor(ctx, 0, "success!")
	if err != nil {
		return err
	}
	getCtx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	resp, err := s.Place.Client.Get(getCtx, serviceKey)
	if err != nil {
		return err
	}
	there := len(resp.Kvs) == 1 && string(resp.Kvs[0].Value) == "value-2379" && resp.Kvs[0].Lease != 0
	if s.check(there, "%s = value-2379 is there, on a lease", serviceKey); !there {
		return nil
	}
	if _, err := s.Place.Client.Revoke(getCtx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		return err
	}
	revoked := time.Now()
	if _, err := p.waitFor(ctx, n, "registered again"); err != nil {
		return err
	}
	s.check(true, "its lease was revoked and its key deleted; it registered again after %.2fs", time.Since(revoked).Seconds())
	if err := p.interrupt(); err != nil {
		return err
	}
	resp, err = s.Place.Client.Get(getCtx, serviceKey)
	if err != nil {
		return err
	}
	s.check(len(resp.Kvs) == 0, "after Ctrl-C it is gone at once")
	return nil
}

func walkDiscovery(ctx context.Context, s *stage) error {
	sd, err := s.start("sd")
	if err != nil {
		return err
	}
	defer sd.kill()
	n, err := sd.waitFor(ctx, 0, "services: []")
	if err != nil {
		return err
	}
	sr, err := s.start("sr", "-val", "localhost:2379")
	if err != nil {
		return err
	}
	defer sr.kill()
	if n, err = sd.waitFor(ctx, n, serviceKey+"=localhost:2379"); err != nil {
		return err
	}
	s.check(true, "it lists the service when it comes")
	if _, err := sr.waitFor(ctx, 0, "success!"); err != nil {
		return err
	}
	second, err := s.startAs("sr 2", "sr", "-val", "localhost:2379")
	if err != nil {
		return err
	}
	defer second.kill()
	done := s.waiting("the second one looks whether the first one renews its lease")
	out, err := second.wait(ctx)
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	told := strings.Contains(out, fmt.Sprintf("registered by another process: pid %d on host", sr.cmd.Process.Pid))
	s.check(err != nil && told, "a second service of that name is told which process has it, and fails")
	s.does("kill -9: sr")
	sr.kill()
	killed := time.Now()
	done = s.waiting("the lease of the killed service runs out after 5s")
	_, err = sd.waitFor(ctx, n, "services: []")
	done()
	if err != nil {
		return err
	}
	s.check(true, "it takes the service off %.1fs after it was killed, when its lease ended", time.Since(killed).Seconds())
	s.check(sd.interrupt() == nil, "Ctrl-C ends it")
	return nil
}
