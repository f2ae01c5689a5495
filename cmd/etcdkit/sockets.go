package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// A running dev cluster has two files in a directory of the user's own, named after the client port of its
// first member: PORT.sock, on which it takes orders, and PORT.endpoints, one line from which client.Dial
// and etcdkit ctl learn where it is when no variable says so.
const (
	socketExt    = ".sock"
	endpointsExt = ".endpoints"
)

// mostSocketDir is the longest directory for sockets: a socket's path may have about 100 bytes, and
// the file names need some of them.
const mostSocketDir = 80

// controlDir is where these files are, the same for all terminals of the user whatever their
// TMPDIR, and short enough for a socket's path. Package client has the same rule.
func controlDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if dir = filepath.Join(dir, "etcdkit"); len(dir) <= mostSocketDir {
			return dir
		}
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(os.TempDir(), "etcdkit")
	}
	return "/tmp/etcdkit-" + strconv.Itoa(os.Getuid())
}

// makeControlDir makes the directory. Whoever leaves it empty removes it.
func makeControlDir() (string, error) {
	dir := controlDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("directory for control sockets: %w", err)
	}
	return dir, trustControlDir(dir)
}

// checkControlDir makes the directory, to see that it can be made. The returned function removes it if
// nothing is in it.
func checkControlDir() (remove func(), err error) {
	dir, err := makeControlDir()
	if err != nil && !removedMeanwhile(err) {
		return nil, err
	}
	return func() { _ = os.Remove(dir) }, nil
}

// trustControlDir refuses a directory that another user could have put sockets in: what answers on
// one is believed.
func trustControlDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("directory for control sockets: %w", err)
	}
	if !info.IsDir() || !ownersAlone(info) {
		return fmt.Errorf("directory for control sockets: %s is not yours alone; remove it, or point XDG_RUNTIME_DIR at a directory that is", dir)
	}
	return nil
}

// removedMeanwhile tells whether another cluster that ended has removed the directory, empty as it was, between
// two steps. (MkdirAll says that it exists when it is gone again before MkdirAll could look at it.)
func removedMeanwhile(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist)
}

// listenTries is how often another cluster that ends may remove the directory, empty at that moment,
// before this one has put its socket into it.
const listenTries = 100

// listenControl listens on the control socket of a cluster. remove removes the socket, and the directory
// if nothing else is in it.
func listenControl(port string) (ln net.Listener, remove func(), err error) {
	for range listenTries {
		var dir string
		if dir, err = makeControlDir(); err != nil {
			if removedMeanwhile(err) {
				continue
			}
			return nil, nil, err
		}
		path := filepath.Join(dir, port+socketExt)
		if ln, err = listenAt(path); err == nil {
			return ln, func() {
				_ = os.Remove(path)
				_ = os.Remove(dir) // refused while another cluster is in it
			}, nil
		}
		if !removedMeanwhile(err) {
			break
		}
	}
	return nil, nil, fmt.Errorf("control socket: %w", err)
}

// listenAt makes a socket that answers from the moment on at which it is there: one that refuses
// connections is taken for the remains of a killed cluster and removed. It replaces such remains.
func listenAt(path string) (net.Listener, error) {
	unready := strings.TrimSuffix(path, socketExt) + ".new"
	_ = os.Remove(unready)
	ln, err := net.Listen("unix", unready)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // the name is about to change
	if err = os.Chmod(unready, 0o600); err == nil {
		err = os.Rename(unready, path)
	}
	if err != nil {
		ln.Close()
		_ = os.Remove(unready)
		return nil, err
	}
	return ln, nil
}

// announce writes where a cluster is. Its control socket is there, so the directory stays.
func announce(port string, endpoints []string) (remove func(), err error) {
	name := filepath.Join(controlDir(), port+endpointsExt)
	if err := writeWhole(name, []byte(strings.Join(endpoints, ",")+"\n")); err != nil {
		return nil, fmt.Errorf("tell other programs where the cluster is: %w", err)
	}
	return func() { _ = os.Remove(name) }, nil
}

// writeWhole writes a file so that nobody reads half of it and no link leads elsewhere.
func writeWhole(name string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".etcdkit-*") // a new file, mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// removeStale removes a socket that nobody listens on, and what stands beside it.
func removeStale(socket string) {
	_ = os.Remove(strings.TrimSuffix(socket, socketExt) + endpointsExt)
	_ = os.Remove(socket)
}
