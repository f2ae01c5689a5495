// Package devdir says where the running dev clusters of this user are found.
//
// Each has two files in one directory, named after the client port of its first member: PORT.sock, on which
// it takes orders, and PORT.endpoints, a line with its endpoints, separated by commas. From that line
// client.Dial and etcdkit ctl learn where the cluster is when no setting says so.
package devdir

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// What the names of the two files end in.
const (
	SocketExt    = ".sock"
	EndpointsExt = ".endpoints"
)

// DefaultPort is etcd's client port: that of the first member, unless something else was asked for, and of the
// endpoint where no setting says which.
const DefaultPort = "2379"

// maxPath is the longest path of the directory: a socket's may have about 100 bytes, and the file names
// need some of them.
const maxPath = 80

// Path is the directory: the same in all terminals of the user, whatever their TMPDIR.
func Path() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if dir = filepath.Join(dir, "etcdkit"); len(dir) <= maxPath {
			return dir
		}
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(os.TempDir(), "etcdkit")
	}
	return "/tmp/etcdkit-" + strconv.Itoa(os.Getuid())
}

// Check refuses a directory that another user can write to: programs believe what they read there. Its error
// is fs.ErrNotExist if there is none.
func Check(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !private(info) {
		return fmt.Errorf("%s is not yours alone; remove it, or point XDG_RUNTIME_DIR at a directory that is", dir)
	}
	return nil
}
