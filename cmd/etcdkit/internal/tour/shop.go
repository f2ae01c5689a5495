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

func walkShop(ctx context.Context, s *stage) error {
	instances := make(map[string]*program)
	defer func() {
		for _, p := range instances {
			p.kill()
		}
	}()
	for _, name := range []string{"catalog", "catalog 2", "stock", "stock 2", "front", "front 2"} {
		service, _, _ := strings.Cut(name, " ")
		p, err := s.start("shop", service)
		if err != nil {
			return err
		}
		instances[name] = p
		if _, err := p.says(ctx, 0, "is registered"); err != nil {
			return err
		}
	}
	customer, err := s.start("shop", "buy")
	if err != nil {
		return err
	}
	defer customer.kill()
	told, err := customer.says(ctx, 0, " answers")
	if err != nil {
		return err
	}
	s.check(true, "each is registered once its health check has passed, and the customer is served")

	instances["catalog"].kill()
	instances["stock"].kill()
	if told, err = s.meanwhile(ctx, customer, told, "kill -9: one catalog and one stock"); err != nil {
		return err
	}
	s.does("SIGTERM: one front")
	_ = instances["front"].cmd.Process.Signal(syscall.SIGTERM)
	if _, err := instances["front"].says(ctx, 0, "has left"); err != nil {
		return err
	}
	s.check(true, "the front that was told to stop said that it drains, and left")
	if s.Place.Own != nil {
		leader := s.Place.Own.Leader()
		if _, err := s.Place.Own.Kill(ctx, leader); err != nil {
			return err
		}
		if told, err = s.meanwhile(ctx, customer, told, "kill -9: "+leader+", etcd's leader"); err != nil {
			return err
		}
		if _, err := s.Place.Own.Start(ctx, leader); err != nil {
			return err
		}
	}
	if _, err := customer.says(ctx, told, " answers"); err != nil {
		return err
	}
	if err := customer.interrupt(); err != nil {
		return err
	}
	out, _ := customer.wait(ctx)
	end := regexp.MustCompile(`in all (\d+) answers, (\d+) failed`).FindStringSubmatch(out)
	if end == nil {
		return fmt.Errorf("no sum in the output of %s", customer.name)
	}
	answers, _ := strconv.Atoi(end[1]) // they are digits
	s.check(answers > 500 && end[2] == "0", "of %s requests %s failed", end[1], end[2])
	for _, name := range []string{"catalog 2", "stock 2", "front 2"} {
		if err := instances[name].interrupt(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	s.check(true, "Ctrl-C ends the others")
	return nil
}

// meanwhile lets the customer go on for some seconds after a fault.
func (s *stage) meanwhile(ctx context.Context, customer *program, told int, fault string) (int, error) {
	s.does("%s", fault)
	for range 3 {
		var err error
		if told, err = customer.says(ctx, told, " answers"); err != nil {
			return told, err
		}
	}
	return told, nil
}
