package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Redis starts n independent redis-servers that have every write on disk before they answer it.
// ErrMissing says that there is no redis-server.
func Redis(ctx context.Context, n int) (*Servers, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is %w; apt-get install redis-server", ErrMissing)
	}
	s, err := newServers(n)
	if err != nil {
		return nil, err
	}
	for i, addr := range s.Addrs {
		dir, err := s.subdir(fmt.Sprint("redis", i+1))
		if err == nil {
			err = s.start(dir, program, "--bind", "127.0.0.1", "--port", port(addr), "--dir", dir,
				"--appendonly", "yes", "--appendfsync", "always", "--save", "")
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.ready(ctx, "PING", "+PONG"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
