package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

func walkStatus(ctx context.Context, s *stage) error {
	out, err := s.table(ctx, "endpoint", "status", "--cluster")
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
	if s.result.Data != nil {
		err = json.Unmarshal(s.result.Data, &of)
	}
	answer, lead := strings.Count(out, "http"), strings.Count(columns(out, "IS LEADER"), " true ")
	if s.result.Data != nil {
		answer = len(of)
		for _, m := range of {
			if m.Status.Header.MemberID == m.Status.Leader {
				lead++
			}
		}
	}
	noun := "members answer"
	if s.Place.Members == 1 {
		noun = "member answers"
	}
	s.check(answer == s.Place.Members, "%d %s", s.Place.Members, noun)
	s.check(lead == 1, "exactly one leads")
	return err
}

func walkHealth(ctx context.Context, s *stage) error {
	out, err := s.table(ctx, "endpoint", "health", "--cluster")
	healthy := strings.Count(out, " true ") + strings.Count(out, `"health":true`)
	of := fmt.Sprintf("all %d are healthy", s.Place.Members)
	if s.Place.Members == 1 {
		of = "the only one is healthy"
	}
	s.check(err == nil && healthy == s.Place.Members, "%s", of)
	return nil
}

func walkKeys(ctx context.Context, s *stage) error {
	args := []string{"get", "--prefix", "--keys-only", ""}
	if s.Place.Own == nil { // a user's cluster may have a million
		args = append(args, "--limit", "20")
	}
	p, err := s.etcdctl(args...)
	if err != nil {
		return err
	}
	out, err := p.wait(ctx)
	if err != nil {
		return err
	}
	if s.Place.Own != nil {
		s.check(strings.TrimSpace(out) == "", "a new cluster has none")
		return nil
	}
	s.check(true, "etcdctl reads them")
	return nil
}
