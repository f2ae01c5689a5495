package place

import (
	"slices"
	"strings"
)

// connection are the settings, after ETCDKIT_ or ETCDCTL_, that say which cluster is meant and how it is
// reached. They belong together: none of them is right for another cluster.
func connection() []string {
	return []string{
		"ENDPOINTS", "CACERT", "CERT", "KEY", "USER", "PASSWORD", "AUTH_JWT_TOKEN", "INSECURE_PLAINTEXT_PASSWORD",
		"DISCOVERY_SRV", "DISCOVERY_SRV_NAME", "INSECURE_DISCOVERY", "INSECURE_TRANSPORT", "INSECURE_SKIP_TLS_VERIFY",
	}
}

// OwnEnviron is an environment for a child that has a cluster of its own at endpoints.
func OwnEnviron(environ, endpoints []string) []string {
	all := strings.Join(endpoints, ",")
	return append(withoutConnection(environ), "ETCDKIT_ENDPOINTS="+all, "ETCDCTL_ENDPOINTS="+all)
}

// withoutConnection is an environment without the settings of a cluster.
func withoutConnection(environ []string) []string {
	var rest []string
	for _, v := range environ {
		if name, _, _ := strings.Cut(v, "="); !isConnection(name) {
			rest = append(rest, v)
		}
	}
	return rest
}

func isConnection(variable string) bool {
	for _, setting := range connection() {
		if variable == "ETCDKIT_"+setting || variable == "ETCDCTL_"+setting {
			return true
		}
	}
	return false
}

// Environ is an environment in which programs of package client and etcdctl reach the same cluster. package client
// prefers ETCDKIT_X to ETCDCTL_X, setting by setting, and etcdctl knows the latter only: both get what
// package client would find.
func Environ(environ, endpoints []string) []string {
	value := make(map[string]string)
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		value[name] = text
	}
	found := func(setting string) string {
		if v := value["ETCDKIT_"+setting]; v != "" {
			return v
		}
		return value["ETCDCTL_"+setting]
	}
	user, password := found("USER"), found("PASSWORD")
	user, own, _ := strings.Cut(user, ":")
	if own != "" && (password == "" || value["ETCDKIT_USER"] != "" && value["ETCDKIT_PASSWORD"] == "") {
		password = own // that of ETCDKIT_USER=name:password goes before ETCDCTL_PASSWORD
	}
	tls := []string{"CACERT", "CERT", "KEY"}
	if strings.HasPrefix(endpoints[0], "http://") {
		tls = nil // the endpoints are from an earlier place than the files, which are left out
	}
	env := OwnEnviron(environ, endpoints)
	set := func(setting, v string) {
		if v != "" {
			env = append(env, "ETCDKIT_"+setting+"="+v, "ETCDCTL_"+setting+"="+v)
		}
	}
	for _, setting := range tls {
		set(setting, found(setting))
	}
	set("USER", user)
	set("PASSWORD", password)
	const plaintext = "ETCDKIT_INSECURE_PLAINTEXT_PASSWORD" // etcdctl has no such setting
	if v := value[plaintext]; v != "" {
		env = append(env, plaintext+"="+v)
	}
	return env
}

// WithoutEtcdctl is an environment without what changes etcdctl's output.
func WithoutEtcdctl(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "ETCDCTL_") && !isConnection(name)
	})
}
