package databases_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/internal/means"
)

// One PostgreSQL for this test binary, and a database of its own for each test.
var (
	startPostgres = sync.OnceValues(start)
	running       *postgres
	opened        atomic.Int64
)

var errMissing = errors.New("PostgreSQL is not installed; apt-get install postgresql")

func openPostgres(t *testing.T) *sql.DB {
	t.Helper()
	p, err := startPostgres()
	if errors.Is(err, errMissing) {
		means.Missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprint("test", opened.Add(1))
	if _, err := p.admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", p.dsn(name))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	return db
}

// postgres is a server with temporary data that listens on a socket in its directory alone.
type postgres struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
	log   bytes.Buffer // complete when it has ended
	admin *sql.DB
}

func (p *postgres) dsn(database string) string {
	return fmt.Sprintf("host=%s user=postgres dbname=%s", p.dir, database)
}

func start() (*postgres, error) {
	bin, err := newest("/usr/lib/postgresql/*/bin/postgres") // Debian's, not on the PATH
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "fence-") // a socket's path is at most 107 bytes long
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, ended: make(chan struct{})}
	running = p // stopPostgres tidies up whatever fails from here
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(filepath.Dir(bin), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	// fsync is off: nothing here is to survive the machine.
	p.cmd = exec.Command(bin, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "deadlock_timeout=100ms")
	p.cmd.Dir, p.cmd.SysProcAttr = dir, attr
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return nil, err
	}
	go func() { // ends with the process, which stopPostgres ends
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	if p.admin, err = sql.Open("pgx", p.dsn("postgres")); err != nil {
		return nil, err
	}
	return p, p.ready()
}

// ready returns when it answers.
func (p *postgres) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		err := p.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("PostgreSQL has ended: %s", p.log.String())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unprivileged gives the directory to a user that is not root: PostgreSQL refuses to run as root.
// Without root it is who runs the test.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := dieWithUs()
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("find a user for PostgreSQL, which root cannot run: %w", err)
	}
	uid, e1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, e2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(e1, e2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, nil
}

// newest finds the file of the largest version.
func newest(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	best, version := "", -1
	for _, file := range files {
		parts := strings.Split(file, "/")
		if v, err := strconv.Atoi(parts[4]); err == nil && v > version {
			best, version = file, v
		}
	}
	if best == "" {
		return "", errMissing
	}
	return best, nil
}

// stopPostgres ends the server, if it was started, and removes its directory.
func stopPostgres() error {
	p := running
	if p == nil {
		return nil
	}
	if p.admin != nil {
		p.admin.Close()
	}
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(syscall.SIGINT) // a fast shutdown, or it has ended by itself
		select {
		case <-p.ended:
		case <-time.After(within):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	return os.RemoveAll(p.dir)
}

// shortly is long enough for a statement that does not wait.
func shortly() <-chan time.Time { return time.After(300 * time.Millisecond) }
