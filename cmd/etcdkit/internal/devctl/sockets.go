package devctl

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/etcdkit/etcdkit/internal/devdir"
	"github.com/etcdkit/etcdkit/internal/wholefile"
)

// makeControlDir makes the directory. A cluster that leaves it empty removes it.
func makeControlDir() (string, error) {
	dir := devdir.Path()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("directory for control sockets: %w", err)
	}
	return dir, trustControlDir(dir)
}

// CheckDir makes the directory, to see that it can be made. The returned function removes it if
// nothing is in it.
func CheckDir() (remove func(), err error) {
	dir, err := makeControlDir()
	if err != nil && !removedMeanwhile(err) {
		return nil, err
	}
	return func() { _ = os.Remove(dir) }, nil
}

// trustControlDir refuses a directory in which another user could have put sockets.
func trustControlDir(dir string) error {
	if err := devdir.Check(dir); err != nil {
		return fmt.Errorf("directory for control sockets: %w", err)
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
		path := filepath.Join(dir, port+devdir.SocketExt)
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
	unready := strings.TrimSuffix(path, devdir.SocketExt) + ".new"
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

// WriteEndpoints writes where a cluster is. Its control socket is there, so the directory stays.
func WriteEndpoints(endpoints []string) (remove func(), err error) {
	name := filepath.Join(devdir.Path(), portOf(endpoints)+devdir.EndpointsExt)
	if err := wholefile.Write(name, []byte(strings.Join(endpoints, ",")+"\n")); err != nil {
		return nil, fmt.Errorf("tell other programs where the cluster is: %w", err)
	}
	return func() { _ = os.Remove(name) }, nil
}

// removeStale removes the files of a cluster that was killed.
func removeStale(socket string) {
	_ = os.Remove(strings.TrimSuffix(socket, devdir.SocketExt) + devdir.EndpointsExt)
	_ = os.Remove(socket)
}
