package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrMissing: a program that is not part of etcdkit is not installed. The error names its package.
var ErrMissing = errors.New("not installed")

// startTimeout bounds the start of servers that are no part of etcdkit.
const startTimeout = 30 * time.Second

// Servers are processes of another system. It belongs to the terminal's process group, so that they
// end with the bench even when a second Ctrl-C gives it no time to end them.
type Servers struct {
	Addrs []string // host:port
	dir   string
	cmds  []*exec.Cmd
	ended []chan struct{}
}

// newServers makes the directory that all of their data will be in, and an address for each.
func newServers(n int) (*Servers, error) {
	dir, err := os.MkdirTemp("", "etcdkit-bench-")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	s := &Servers{dir: dir}
	s.Addrs, err = freeAddrs(n)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// freeAddrs are loopback addresses at which no process listens.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("lab: find a free port: %w", err)
		}
		defer l.Close() // not before the last one is found
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // of a listener
	return port
}

// subdir makes a directory for one server.
func (s *Servers) subdir(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	return dir, os.Mkdir(dir, 0o700)
}

// start starts a server; what it writes goes to a file in its directory.
func (s *Servers) start(dir, program string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lab: start %s: %w", program, err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process, which Close kills
		defer close(ended)
		_ = cmd.Wait()
	}()
	s.cmds, s.ended = append(s.cmds, cmd), append(s.ended, ended)
	return nil
}

// ready returns when every server has answered a line of text with the wanted words.
func (s *Servers) ready(ctx context.Context, question, wanted string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for i, addr := range s.Addrs {
		err := persist(ctx, func(ctx context.Context) error {
			select {
			case <-s.ended[i]:
				cancel()
				return errors.New("it has ended")
			default:
				return ask(ctx, addr, question, wanted)
			}
		})
		if err != nil {
			return fmt.Errorf("lab: server %d of %d does not answer: %w%s", i+1, len(s.Addrs), err, s.lastWords(i))
		}
	}
	return nil
}

// ask sends a line and looks for words in the answer.
func ask(ctx context.Context, addr, question, wanted string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", question); err != nil {
		return err
	}
	var got []string
	for in := bufio.NewScanner(conn); in.Scan(); {
		if strings.Contains(in.Text(), wanted) {
			return nil
		}
		got = append(got, in.Text())
	}
	return fmt.Errorf("%s: got %q, want %q", question, strings.Join(got, "; "), wanted)
}

// lastWords are the end of a server's log.
func (s *Servers) lastWords(i int) string {
	log, err := os.ReadFile(filepath.Join(s.cmds[i].Dir, "log"))
	if err != nil || len(log) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return "; it said: " + strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// Close kills the servers and removes their data.
func (s *Servers) Close() error {
	for i, cmd := range s.cmds {
		_ = cmd.Process.Kill() // or it has ended by itself
		<-s.ended[i]
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("lab: remove the servers' data: %w", err)
	}
	return nil
}
