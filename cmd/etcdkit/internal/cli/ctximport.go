package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

func newCtxImport(a *app) *cobra.Command {
	var kubeadm string
	var endpoints []string
	var use, force bool
	cmd := &cobra.Command{
		Use: "import NAME", Short: "make a context of ETCDCTL_ variables, or of kubeadm's certificates", Args: needs("which name shall it have?", 1, 1),
		Long: paragraphs(
			"Makes a context of the ETCDCTL_ variables of this environment, or, with --kubeadm, of the folder in which kubeadm keeps etcd's certificates: ca.crt with healthcheck-client.crt and .key (or peer.crt, or server.crt). The etcd of kubeadm is at https://127.0.0.1:2379 unless --endpoints says otherwise.",
			"A password in ETCDCTL_PASSWORD or ETCDCTL_USER is not kept: give it in ETCDKIT_PASSWORD when you need it, or in a file that ctx add --password-file names."),
		Example: "  etcdkit ctx import old\n  sudo etcdkit ctx import k8s --kubeadm /etc/kubernetes/pki/etcd\n  etcdkit ctx import k8s --kubeadm pki --endpoints https://10.0.0.1:2379",
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.importFlags(kubeadm, endpoints)
			if err != nil {
				return err
			}
			c, err := contextOf(f)
			if err != nil {
				return err
			}
			return a.addContext(args[0], c, use, force)
		},
	}
	cmd.Flags().StringVar(&kubeadm, "kubeadm", "", "folder of kubeadm's certificates of etcd")
	cmd.Flags().StringSliceVar(&endpoints, "endpoints", nil, "members' client addresses, instead of those that are found")
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on, too")
	cmd.Flags().BoolVar(&force, "force", false, "replace one of the same name")
	return cmd
}

// importFlags are the flags that ctx add would have to make the same context.
func (a *app) importFlags(kubeadm string, endpoints []string) (*place.Flags, error) {
	if kubeadm != "" {
		return kubeadmFlags(kubeadm, endpoints)
	}
	if len(endpoints) == 0 {
		if os.Getenv("ETCDCTL_ENDPOINTS") == "" {
			return nil, usagef("ETCDCTL_ENDPOINTS is not set, and there is no --kubeadm: nothing to import")
		}
		endpoints = strings.Split(os.Getenv("ETCDCTL_ENDPOINTS"), ",")
	}
	user, password, _ := strings.Cut(os.Getenv("ETCDCTL_USER"), ":")
	if password != "" || os.Getenv("ETCDCTL_PASSWORD") != "" {
		a.say("the password is not kept: give it in ETCDKIT_PASSWORD, or in a file (etcdkit ctx add --password-file)")
	}
	return &place.Flags{Endpoints: endpoints, CACert: os.Getenv("ETCDCTL_CACERT"), Cert: os.Getenv("ETCDCTL_CERT"), Key: os.Getenv("ETCDCTL_KEY"), User: user}, nil
}

// kubeadmFlags finds a client's certificate in kubeadm's folder, which may be pki as well as pki/etcd.
func kubeadmFlags(dir string, endpoints []string) (*place.Flags, error) {
	if len(endpoints) == 0 {
		endpoints = []string{"https://127.0.0.1:2379"}
	}
	var tried []string
	for _, folder := range []string{dir, filepath.Join(dir, "etcd")} {
		ca := filepath.Join(folder, "ca.crt")
		for _, pair := range []string{"healthcheck-client", "peer", "server"} {
			f := &place.Flags{Endpoints: endpoints, CACert: ca, Cert: filepath.Join(folder, pair+".crt"), Key: filepath.Join(folder, pair+".key")}
			_, noCA := os.Stat(f.CACert)
			_, noCert := os.Stat(f.Cert)
			_, noKey := os.Stat(f.Key)
			err := errors.Join(noCA, noCert, noKey)
			if err == nil {
				return f, nil
			}
			if errors.Is(err, os.ErrPermission) {
				return nil, fmt.Errorf("kubeadm's certificates: %w; they are root's", err)
			}
			tried = append(tried, f.Cert)
		}
	}
	return nil, notFoundf("no ca.crt with a client certificate and its key in %s: looked for %s", dir, strings.Join(tried, ", "))
}

// wholePath is the path of a file that exists, from the root on: a context is used from any directory.
func wholePath(flag, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	whole, err := filepath.Abs(name)
	if err == nil {
		_, err = os.Stat(whole)
	}
	if err != nil {
		return "", usagef("%s: %w", flag, err)
	}
	return whole, nil
}
