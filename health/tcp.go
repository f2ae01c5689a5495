package health

import (
	"context"
	"net"
	"strings"
)

// TCP is a check that connects to addr, host:port. "" is the instance's own address.
func TCP(addr string) Check {
	return Check{
		Name: strings.TrimSpace("tcp " + addr),
		Probe: func(ctx context.Context, instance string) (string, error) {
			target := addr
			if target == "" {
				target = instance
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", target)
			if err != nil {
				return "", err
			}
			return "connected", conn.Close()
		},
		usable: func() error {
			if addr == "" {
				return nil
			}
			_, _, err := net.SplitHostPort(addr)
			return err
		},
	}
}
