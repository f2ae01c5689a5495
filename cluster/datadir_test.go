package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// kept makes a data directory that a cluster of three has served from.
func kept(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	c, err := cluster.Start(t.Context(), &cluster.Options{AnyPort: true, InProcess: true, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	put(t, etcdtest.Client(t, c), "kept", "value")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// snapshot tells a directory's files, sizes and times.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && d.Name() != ".etcdkit.lock" { // taking the lock writes this pid into it
			fmt.Fprintln(&all, path, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil && !errors.Is(err, syscall.ENOTDIR) {
		t.Fatal(err)
	}
	return all.String()
}

func TestAKeptDirectoryIsUsedAgainWithItsDataAndPorts(t *testing.T) {
	dir := kept(t)
	for _, inProcess := range []bool{false, true} {
		c := etcdtest.NewCluster(t, &cluster.Options{DataDir: dir, InProcess: inProcess})
		resp, err := etcdtest.Client(t, c).Get(t.Context(), "kept")
		if err != nil || len(resp.Kvs) != 1 {
			t.Errorf("in process %v: got %v, %v, want the kept key", inProcess, resp, err)
		}
		if c.State().Temporary {
			t.Error("status says that kept data is temporary")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUnusableDirectoryIsNamedAndLeftUntouched(t *testing.T) {
	t.Parallel()
	edit := func(dir, from, to string) string {
		name := filepath.Join(dir, "cluster.json")
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), from) {
			t.Fatalf("%s has no %q: %s", name, from, b)
		}
		if err := os.WriteFile(name, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(foreign, "thesis.txt"), filepath.Join(linked, ".etcdkit.lock")); err != nil {
		t.Fatal(err)
	}
	lost, copied, empty, damagedCopy := kept(t), kept(t), kept(t), kept(t)
	for _, name := range []string{
		filepath.Join(lost, "cluster.json"), filepath.Join(lost, "cluster.json.copy"), filepath.Join(copied, "cluster.json"), filepath.Join(empty, "cluster.json.copy"),
	} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(damagedCopy, "cluster.json.copy"), []byte("{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{empty, damagedCopy} {
		if err := os.Truncate(filepath.Join(dir, "cluster.json"), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, dir string
		members   int
		text      string
	}{
		{"another member count", kept(t), 5, "holds a cluster of 3 members and 5 were asked for; ask for 3, or use another directory"},
		{"a newer version", edit(kept(t), `"etcd": "3.7`, `"etcd": "3.8`), 3, "was written by etcd 3.8.3 and this is 3.7.3"},
		{"a much older version", edit(kept(t), `"etcd": "3.7`, `"etcd": "3.4`), 3, "use a matching etcdkit or another directory"},
		{"a damaged record", edit(kept(t), `{`, `{{`), 3, "cluster.json is damaged"},
		{"a record that reaches out", edit(edit(kept(t), `"etcd1"`, `"../etcd1"`), `"served": true`, `"served": false`), 3, `member 1 is called "../etcd1"`},
		{"an emptied record without a copy", empty, 3, "cluster.json is empty, and there is no cluster.json.copy to go on with; restore one of them"},
		{"an emptied record with a damaged copy", damagedCopy, 3, "cluster.json is empty, and cluster.json.copy is damaged: "},
		{"data with a copy of its record only", copied, 3, "copy the first to the second"},
		{"data without its record", lost, 3, `holds "etcd1" and no cluster.json`},
		{"a user's files", foreign, 3, `holds "thesis.txt" and no cluster.json`},
		{"a lock that is a link", linked, 3, "its .etcdkit.lock is not a plain file"},
		{"a file", filepath.Join(foreign, "thesis.txt"), 3, "is not a directory"},
		{"a place below a file", filepath.Join(foreign, "thesis.txt", "x"), 3, "is not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := snapshot(t, tc.dir)
			c, err := cluster.Start(t.Context(), &cluster.Options{Members: tc.members, AnyPort: true, InProcess: true, DataDir: tc.dir})
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), tc.dir) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want ErrDataDir with %q and %q", err, tc.dir, tc.text)
			}
			if after := snapshot(t, tc.dir); after != before {
				t.Errorf("the directory was changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func TestADirectoryInUseNamesTheProcessThatUsesIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true, DataDir: dir})
	_, err := cluster.Start(t.Context(), &cluster.Options{Members: 1, AnyPort: true, InProcess: true, DataDir: dir})
	want := fmt.Sprintf("%s is in use by a running cluster (pid %d); stop it first", dir, os.Getpid())
	if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ErrDataDir with %q", err, want)
	}
}

func TestDataThatAnotherEtcdHasOpenIsNamed(t *testing.T) {
	dir := kept(t)
	db, err := fileutil.TryLockFile(filepath.Join(dir, "etcd2", "member", "snap", "db"), os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = cluster.Start(t.Context(), &cluster.Options{AnyPort: true, InProcess: true, DataDir: dir})
	if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), "another etcd process has the data of etcd2 open") {
		t.Errorf("got %v, want ErrDataDir that names etcd2", err)
	}
}

// A cluster whose quota is used up has to start: only then it can be compacted and disarmed.
func TestAKeptClusterWithANoSpaceAlarmStarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	opts := cluster.Options{Members: 1, InProcess: true, DataDir: dir}
	c := etcdtest.NewCluster(t, &opts)
	cli := etcdtest.Client(t, c)
	alarm := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_ACTIVATE, Alarm: etcdserverpb.AlarmType_NOSPACE}
	if _, err := etcdserverpb.NewMaintenanceClient(cli.ActiveConnection()).Alarm(t.Context(), alarm); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Put(t.Context(), "k", "v"); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("put under the alarm: %v, want ErrNoSpace", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	cli = etcdtest.Client(t, etcdtest.NewCluster(t, &opts))
	if _, err := cli.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	put(t, cli, "k", "v")
}

func TestATakenPortIsNamedWithThePidAndProgramThatHoldsIt(t *testing.T) {
	dir := kept(t)
	c, err := cluster.Start(t.Context(), &cluster.Options{AnyPort: true, InProcess: true, DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	port := c.State().Members[1].Peer // recorded: the next start needs it
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = cluster.Start(t.Context(), &cluster.Options{AnyPort: true, InProcess: true, DataDir: dir})
	want := fmt.Sprintf("%s is held by pid %d (cluster.test)", port, os.Getpid())
	if !errors.Is(err, cluster.ErrPortTaken) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ErrPortTaken with %q", err, want)
	}
}

func TestAMemberWhoseOwnPortWasTakenMeanwhileNamesTheHolder(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	port := member(t, c, "etcd2").Client
	did(t)(c.Kill(t.Context(), "etcd2"))
	ln, err := net.Listen("tcp4", port)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = c.Start(t.Context(), "etcd2")
	want := fmt.Sprintf("%s is held by pid %d (cluster.test)", port, os.Getpid())
	if !errors.Is(err, cluster.ErrPortTaken) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ErrPortTaken with %q", err, want)
	}
	ln.Close()
	did(t)(c.Start(t.Context(), "etcd2"))
}

func TestAnEmptiedRecordIsRepaired(t *testing.T) {
	t.Parallel()
	for what, content := range map[string]string{"empty": "", "zeros": strings.Repeat("\x00", 512)} {
		dir := kept(t)
		name := filepath.Join(dir, "cluster.json")
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c := etcdtest.NewCluster(t, &cluster.Options{DataDir: dir, InProcess: true})
		resp, err := etcdtest.Client(t, c).Get(t.Context(), "kept")
		if err != nil || len(resp.Kvs) != 1 {
			t.Errorf("%s: got %v, %v, want the kept key", what, resp, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != string(whole) {
			t.Errorf("%s: cluster.json is now %q, %v, want what it was: %q", what, b, err, whole)
		}
	}
}

// A directory that was unpacked from an archive may have links in it that lead to files of the user's.
func TestADirectoryWithLinksInItIsRefusedAndTheirTargetsAreLeftAlone(t *testing.T) {
	t.Parallel()
	const interrupted = `{"etcd":"3.7.3","token":"x","served":false,"members":[{"name":"etcd1","client":1,"peer":2}]}`
	for _, tc := range []struct {
		link, target string // target is below the victim
		served       bool
	}{
		{"etcd1", "", false},
		{"etcd1", "", true},
		{"etcd2.log", "member/precious", true},
		{"cluster.json", "cluster.json", true},
		{"cluster.json.copy", "member/precious", true},
		{"etcd1/member/wal/evil.wal", "member/precious", true},
	} {
		t.Run(fmt.Sprint(tc.link, ", served ", tc.served), func(t *testing.T) {
			victim := t.TempDir()
			if err := os.Mkdir(filepath.Join(victim, "member"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"member/precious", "cluster.json"} {
				if err := os.WriteFile(filepath.Join(victim, name), []byte(interrupted), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			if tc.served {
				dir = kept(t)
			} else if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte(interrupted), 0o600); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(dir, tc.link)
			if err := os.RemoveAll(link); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(victim, tc.target), link); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, victim)
			members := 1
			if tc.served {
				members = 3
			}
			c, err := cluster.Start(t.Context(), &cluster.Options{Members: members, AnyPort: true, InProcess: true, DataDir: dir})
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), link+" is a symbolic link; replace it") {
				t.Errorf("got %v, want ErrDataDir that names %s", err, link)
			}
			if after := snapshot(t, victim); after != before {
				t.Errorf("the link's target was changed:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// More members than a cluster can have are not etcdkit's: their names are not checked for links.
func TestARecordOfTooManyMembersIsRefused(t *testing.T) {
	dir, victim := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(victim, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	var members []string
	for i := range 6 {
		members = append(members, fmt.Sprintf(`{"name":"etcd%d","client":%d,"peer":%d}`, i+1, 2*i+11, 2*i+12))
	}
	record := fmt.Sprintf(`{"etcd":"3.7.3","token":"x","served":false,"members":[%s]}`, strings.Join(members, ","))
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "etcd6")); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), &cluster.Options{Members: 3, AnyPort: true, InProcess: true, DataDir: dir})
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), "6 members") {
		t.Errorf("got %v, want ErrDataDir that says how many", err)
	}
	if _, err := os.Stat(filepath.Join(victim, "member")); err != nil {
		t.Errorf("what the link leads to: %v", err)
	}
}

// What a link under the name of an unfinished file leads to is not written.
func TestAnUnfinishedRecordLeadsNowhereElse(t *testing.T) {
	dir := kept(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "cluster.json.1.tmp")); err != nil {
		t.Fatal(err)
	}
	etcdtest.NewCluster(t, &cluster.Options{DataDir: dir, InProcess: true})
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("the link's target is now %q, %v", b, err)
	}
}
