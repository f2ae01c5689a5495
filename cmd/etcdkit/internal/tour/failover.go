package tour

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lock"
)

// walkFailover kills the leader of etcd while a lock is held and a service is called.
func walkFailover(ctx context.Context, s *stage) error {
	sh, err := openShop(ctx, s, shopServices()...)
	if err != nil {
		return err
	}
	defer sh.close()
	mutex := lock.New(s.Place.Client, "tour/lock", nil)
	defer mutex.Close()
	acquiring, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	hold, err := mutex.Acquire(acquiring)
	if err != nil {
		return err
	}
	s.does("acquires the lock %s: fencing token %d", hold.Name(), hold.Token())

	err = s.withoutLeader(ctx, func() error {
		if err := sh.waitForReports(ctx, 2); err != nil {
			return err
		}
		committing, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		if _, err := hold.Commit(committing, clientv3.OpPut("tour/work", "done")); err != nil {
			return err
		}
		return sh.waitForReports(ctx, 1)
	})
	if err != nil {
		return err
	}
	s.check(true, "the lock was never lost: its holder wrote its work with token %d", hold.Token())
	answered, failed, err := sh.sum(ctx)
	if err != nil {
		return err
	}
	s.checkLoad(300, answered, failed)
	return nil
}

// withoutLeader kills the leader of the tour's own cluster, and starts that member again once f has returned.
func (s *stage) withoutLeader(ctx context.Context, f func() error) error {
	leader := s.Place.Own.Leader()
	s.does("kill -9: %s, etcd's leader", leader)
	change, err := s.Place.Own.Kill(ctx, leader)
	if err != nil {
		return err
	}
	s.does("%s", change)
	failed := f()
	_, err = s.Place.Own.Start(ctx, leader) // the lessons that follow need all members
	return errors.Join(failed, err)
}
