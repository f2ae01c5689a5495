// Package lab is where libraries are measured: one cluster of three processes; gates that stand
// between it and a consumer, count what passes and can be shut; meters that count requests and
// wake-ups inside a client; and servers of other systems, where these are installed.
//
//	l, err := lab.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer l.Close()
//	g, err := lab.OpenGate(l.Leader())
//	if err != nil {
//		return err
//	}
//	defer g.Close()
//	… // a consumer whose endpoint is g.Addr()
//	fmt.Println(g.Received(), "bytes came to it")
//
// Everything listens on loopback; Close leaves no process and no directory behind.
package lab
