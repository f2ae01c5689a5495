package health

import (
	"context"
	"net"
	"strings"
)

// TCP is a check by a connection to addr, host:port, or to the instance if that is "".
func TCP(addr string) Check {
	return Check{
		Name: strings.TrimSpace("tcp " + addr),
		Probe: func(ctx context.Context, instance string) (string, error) {
			to := addr
			if to == "" {
				to = instance
			}
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", to)
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
