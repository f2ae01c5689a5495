package place

import (
	"context"
	"os"
	"strings"
)

// EtcdctlEnviron are the settings of the context that counts as etcdctl's variables, NAME=VALUE, and as others that
// must not be set, NAME=. It is nil if no context counts, as with flags that have Endpoints. Flags go before it.
func EtcdctlEnviron(flags *Flags) ([]string, error) {
	c, _, err := flags.context()
	if c == nil || err != nil {
		return nil, err
	}
	var own []string
	for _, setting := range connection() {
		for _, prefix := range []string{"ETCDKIT_", "ETCDCTL_"} {
			own = append(own, prefix+setting+"="+c.getenv(prefix+setting))
		}
	}
	switch {
	case flags.User != "": // the password is another user's, unless a flag has it
		own = append(own, "ETCDKIT_PASSWORD=", "ETCDCTL_PASSWORD=")
	case c.PasswordFile != "":
		password, err := flags.readPassword(context.Background(), c.PasswordFile, nil)
		if err != nil {
			return nil, err
		}
		own = append(own, "ETCDKIT_PASSWORD="+password)
	}
	var variables []string
	for _, setting := range connection() {
		variables = append(variables, "ETCDCTL_"+setting+"=")
	}
	for _, v := range Environ(own, c.Endpoints) {
		if strings.HasPrefix(v, "ETCDCTL_") {
			variables = append(variables, v)
		}
	}
	return variables, nil
}

// SetEnviron sets variables of this process, NAME=VALUE, and removes those without a value.
func SetEnviron(variables []string) {
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		if value == "" {
			_ = os.Unsetenv(name) // a setting's name cannot fail
			continue
		}
		_ = os.Setenv(name, value) // it came from the environment, or from a file without NUL
	}
}
