package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// shopServices are those of examples/shop.
var shopServices = []string{"catalog", "stock", "front"}

// shopWalk is the optional part.
func shopWalk() *step {
	return &step{Name: "7 shop", Shows: `Three services, two instances of each, find one another by their names, and a customer
sends 200 requests a second, while instances are killed or leave and a member of etcd fails.`, walk: walkShop}
}

func walkShop(ctx context.Context, t *tour, s *step) error {
	instances := make(map[string]*program)
	defer func() {
		for _, p := range instances {
			p.kill()
		}
	}()
	for _, name := range []string{"catalog", "catalog 2", "stock", "stock 2", "front", "front 2"} {
		service, _, _ := strings.Cut(name, " ")
		p, err := t.start(s, "shop", service)
		if err != nil {
			return err
		}
		instances[name] = p
		if _, err := p.says(ctx, 0, "is registered"); err != nil {
			return err
		}
	}
	customer, err := t.start(s, "shop", "buy")
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
	if told, err = t.meanwhile(ctx, s, customer, told, "kill -9: one catalog and one stock"); err != nil {
		return err
	}
	s.heard(t.ui, "SIGTERM: one front")
	_ = instances["front"].cmd.Process.Signal(syscall.SIGTERM)
	if _, err := instances["front"].says(ctx, 0, "has left"); err != nil {
		return err
	}
	s.check(true, "the front that was told to stop said that it drains, and left")
	if t.own != nil {
		leader := t.own.Leader()
		if _, err := t.own.Kill(ctx, leader); err != nil {
			return err
		}
		if told, err = t.meanwhile(ctx, s, customer, told, "kill -9: "+leader+", etcd's leader"); err != nil {
			return err
		}
		if _, err := t.own.Start(ctx, leader); err != nil {
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
func (t *tour) meanwhile(ctx context.Context, s *step, customer *program, told int, fault string) (int, error) {
	s.heard(t.ui, fault)
	for range 3 {
		var err error
		if told, err = customer.says(ctx, told, " answers"); err != nil {
			return told, err
		}
	}
	return told, nil
}
