// Package lab is where libraries are measured: one cluster of three processes; meters that count requests and
// wake-ups inside a client; and servers of other systems, where these are installed.
//
//	l, err := lab.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer l.Close()
//	… // a consumer whose endpoint is l.Leader()
//
// Everything listens on loopback; Close leaves no process and no directory behind.
package lab
