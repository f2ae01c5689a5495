// Package client opens an etcd client that is known to work.
//
// clientv3.New returns at once, whether or not a member answers; the first call then waits, retries silently
// and ends with "context deadline exceeded". [Dial] finds out first, and says what is wrong at which endpoint.
//
//	cli, err := client.Dial(ctx, nil) // the environment, else localhost:2379
//	if err != nil {
//		return err // client: no member answered: localhost:2379: connection refused; …
//	}
//	defer cli.Close()
//	_, err = cli.Put(ctx, "greeting", "hello")
//
// # When etcd may be away
//
// A program that must start without etcd, as from a list that it saved (discovery's Options.Dir),
// uses [New], which sends nothing. One that must wait for etcd at boot uses [Wait], which
// waits until its context ends:
//
//	cli, err := client.New(nil) // as Dial: environment, TLS, user and password
//	if err != nil {
//		return err // a wrong setting
//	}
//	defer cli.Close()
//	if err := client.Wait(ctx, cli); err != nil {
//		return err // client: context deadline exceeded; no answer from localhost:2379: … connection refused
//	}
//
// # The client
//
// What Dial returns is a plain *clientv3.Client. Its requests wait for as long
// as their own context lets them, so give each one a deadline. Its Close takes
// a second at most; of clientv3 alone it can wait for ever, if etcd refuses a
// watch at that moment.
//
// # Settings
//
// Each setting is looked up by itself: in [Options], then in the variable
// ETCDKIT_X, then in etcdctl's ETCDCTL_X, then there is a default. An empty
// variable counts as unset.
//
//	Options    variable                 default
//	Endpoints  ETCDKIT_ENDPOINTS        localhost:2379, or a running etcdkit dev; a comma between endpoints
//	CACert     ETCDKIT_CACERT           the authorities that the machine trusts
//	Cert       ETCDKIT_CERT             no client certificate
//	Key        ETCDKIT_KEY              goes with Cert
//	User       ETCDKIT_USER             none; may be name:password
//	Password   ETCDKIT_PASSWORD         none
//
// When nothing says where etcd is, and etcdkit dev runs on this machine for this user, its endpoints
// are used: all members of the cluster at localhost:2379, so that the client
// outlives the first one, or else the only one that runs. (Not with TLS or a user, and not by [Endpoints].)
//
// ETCDKIT_INSECURE_PLAINTEXT_PASSWORD=true stands for
// Options.InsecurePlaintextPassword and has no ETCDCTL_ counterpart.
//
// An endpoint is host:port, http://host:port, https://host:port, unix://path
// or unixs://path (TLS over a socket). host:port and unix://path use TLS when a
// CACert, Cert or Key is set. http:// together with such a file is an error, unless the
// endpoint comes from an earlier place than the file, which is then left out.
//
// # Guarantees
//
//   - Dial succeeds only after a member has answered, and has accepted the user
//     if there is one. A member that has lost its quorum still answers: only a
//     write shows whether the cluster can commit.
//   - Dial returns by the earlier of ctx's deadline and Options.Timeout. When
//     every endpoint refuses it says so after about a second, which is the time
//     it leaves for a cluster that is just starting.
//   - A wrong setting is found before anything is sent. A password never
//     crosses a network unencrypted unless a setting says so explicitly, and no
//     error contains one.
//   - After a failed Dial no connection and no goroutine is left.
//   - Once it is known that no member can be reached, the client makes at most 2 connection attempts
//     a second, on average, however many requests and watches use it. It is back within 3 s after a member is, as a rule
//     within one; with some endpoints still down it can take one probe, about 0.7 s, for each of
//     them. (Not if DialOptions have a dialer of their own.)
//
// # Limits
//
// Connections go straight to the members: HTTPS_PROXY and its like are not
// used. CACert is read once; Cert and Key are read again for each connection,
// so a renewed certificate needs no restart. User names with a colon in them,
// and IPv6 zones, cannot be expressed.
package client
