package client

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const plaintextVariable = "ETCDKIT_INSECURE_PLAINTEXT_PASSWORD"

// resolveUser needs the endpoints: it refuses to send a password to them in
// the clear.
func (c *config) resolveUser(opts *Options) error {
	user, password := opts.lookup("User", opts.User), opts.lookup("Password", opts.Password)
	name, inline, _ := strings.Cut(user.value, ":")
	if inline != "" && user.rank < password.rank {
		password = setting{inline, user.name, user.rank}
	}
	switch {
	case user.value == "" && password.value == "":
		return nil
	case user.value == "":
		return configError("%s is set, but no user is: set User or ETCDKIT_USER", password.name)
	case name == "":
		return configError("%s has no name before the colon", user.name)
	case password.value == "":
		return configError("user %q%s has no password: set Password or ETCDKIT_PASSWORD", name, user.origin())
	case !utf8.ValidString(name):
		return configError("%s is not UTF-8", user.name)
	case !utf8.ValidString(password.value):
		return configError("%s is not UTF-8", password.name)
	}
	user.value = name
	c.user, c.password = user, password
	return c.checkPlaintext(opts)
}

func (c *config) checkPlaintext(opts *Options) error {
	permitted := opts.InsecurePlaintextPassword
	if value := opts.getenv(plaintextVariable); value != "" && !permitted {
		var err error
		if permitted, err = strconv.ParseBool(value); err != nil {
			return configError("%s is %q: use true or false", plaintextVariable, value)
		}
	}
	if c.secure || permitted {
		return nil
	}
	for _, e := range c.endpoints {
		if !e.loopback() {
			text := fmt.Sprintf("the password of user %q would go to %s unencrypted: use https://, or set %s=true to accept that",
				c.user.value, e.text, plaintextVariable)
			return newError(text, ErrInvalid, ErrPlaintextPassword)
		}
	}
	return nil
}
