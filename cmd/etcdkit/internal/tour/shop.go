package tour

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// shopServices are those of examples/shop.
func shopServices() []string { return []string{"catalog", "stock", "front"} }

// shop is the running services of examples/shop, and a load generator that calls them.
type shop struct {
	*stage
	instances map[string]*program
	load      *program
	lines     int // of the load generator that have been seen
}

// openShop starts instances, which are called SERVICE or "SERVICE 2", and the load generator.
func openShop(ctx context.Context, s *stage, names ...string) (_ *shop, err error) {
	sh := &shop{stage: s, instances: make(map[string]*program)}
	defer func() {
		if err != nil {
			sh.close()
		}
	}()
	for _, name := range names {
		service, _, _ := strings.Cut(name, " ")
		p, err := s.startAs(name, "shop", service)
		if err != nil {
			return nil, err
		}
		sh.instances[name] = p
		if _, err := p.waitFor(ctx, 0, "is registered"); err != nil {
			return nil, err
		}
	}
	if sh.load, err = s.startAs("buy", "shop", "buy"); err != nil {
		return nil, err
	}
	return sh, sh.waitForReports(ctx, 1)
}

func (sh *shop) close() {
	for _, p := range sh.instances {
		p.kill()
	}
	if sh.load != nil {
		sh.load.kill()
	}
}

// waitForReports waits for more lines of the load generator: it prints one each second.
func (sh *shop) waitForReports(ctx context.Context, lines int) error {
	for range lines {
		var err error
		if sh.lines, err = sh.load.waitFor(ctx, sh.lines, " answers"); err != nil {
			return err
		}
	}
	return nil
}

// sum ends the load generator. It is how many requests were answered, and how many failed.
func (sh *shop) sum(ctx context.Context) (answered, failed int, err error) {
	if err := sh.waitForReports(ctx, 1); err != nil {
		return 0, 0, err
	}
	if err := sh.load.interrupt(); err != nil {
		return 0, 0, err
	}
	text, err := sh.load.wait(ctx)
	if err != nil {
		return 0, 0, err
	}
	end := regexp.MustCompile(`in all (\d+) answers, (\d+) failed`).FindStringSubmatch(text)
	if end == nil {
		return 0, 0, fmt.Errorf("no sum in the output of %s", sh.load.name)
	}
	answered, _ = strconv.Atoi(end[1]) // they are digits
	failed, _ = strconv.Atoi(end[2])
	return answered, failed, nil
}

// checkLoad checks the load generator's sum.
func (s *stage) checkLoad(least, answered, failed int) {
	s.check(answered >= least, "at least %d requests were answered: %d", least, answered)
	none := "none failed"
	if failed > 0 {
		none += fmt.Sprintf(": %d did", failed)
	}
	s.check(failed == 0, "%s", none)
}

func walkShop(ctx context.Context, s *stage) error {
	sh, err := openShop(ctx, s, "catalog", "catalog 2", "stock", "stock 2", "front", "front 2")
	if err != nil {
		return err
	}
	defer sh.close()
	s.check(true, "each instance is registered once its health check has passed, and requests are answered")

	s.does("kill -9: one catalog and one stock")
	sh.instances["catalog"].kill()
	sh.instances["stock"].kill()
	if err := sh.waitForReports(ctx, 3); err != nil {
		return err
	}
	s.does("SIGTERM: one front")
	_ = sh.instances["front"].cmd.Process.Signal(syscall.SIGTERM)
	if _, err := sh.instances["front"].waitFor(ctx, 0, "has left"); err != nil {
		return err
	}
	s.check(true, "the front that was told to stop said that it drains, and left")
	if s.Place.Own != nil {
		if err := s.withoutLeader(ctx, func() error { return sh.waitForReports(ctx, 3) }); err != nil {
			return err
		}
	}
	answered, failed, err := sh.sum(ctx)
	if err != nil {
		return err
	}
	s.checkLoad(500, answered, failed)
	for _, name := range []string{"catalog 2", "stock 2", "front 2"} {
		if err := sh.instances[name].interrupt(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	s.check(true, "Ctrl-C ends the others")
	return nil
}
