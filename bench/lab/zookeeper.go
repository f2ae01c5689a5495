package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// zookeeperJar is where Debian's package has it.
const zookeeperJar = "/usr/share/java/zookeeper.jar"

// zookeeperConfig of a node: ZooKeeper's own defaults but for the addresses, and that more than 60
// clients may come from one host.
const zookeeperConfig = `tickTime=2000
initLimit=10
syncLimit=5
dataDir=%s
clientPortAddress=127.0.0.1
clientPort=%s
maxClientCnxns=0
admin.enableServer=false
%s
`

// ZooKeeper starts an ensemble of n nodes. ErrMissing says that there is no ZooKeeper.
func ZooKeeper(ctx context.Context, n int) (*Servers, error) {
	java, err := exec.LookPath("java")
	if err == nil {
		_, err = os.Stat(zookeeperJar)
	}
	if err != nil {
		return nil, fmt.Errorf("ZooKeeper is %w (%v); apt-get install zookeeper", ErrMissing, err)
	}
	s, err := newServers(n)
	if err != nil {
		return nil, err
	}
	peers, err := freeAddrs(2 * n)
	for i := 0; i < n && err == nil; i++ {
		err = s.node(i, java, peers)
	}
	if err == nil {
		err = s.ready(ctx, "srvr", "Mode: ")
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// node starts one of the ensemble. peers are two addresses of each one.
func (s *Servers) node(i int, java string, peers []string) error {
	dir, err := s.subdir(fmt.Sprint("zookeeper", i+1))
	if err != nil {
		return err
	}
	var ensemble []string
	for n := range s.Addrs {
		ensemble = append(ensemble, fmt.Sprintf("server.%d=%s:%s", n+1, peers[2*n], port(peers[2*n+1])))
	}
	config := fmt.Sprintf(zookeeperConfig, dir, port(s.Addrs[i]), strings.Join(ensemble, "\n"))
	for name, text := range map[string]string{"zoo.cfg": config, "myid": fmt.Sprint(i + 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return s.start(dir, java, "-Xmx256m", "-cp", zookeeperJar,
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(dir, "zoo.cfg"))
}
