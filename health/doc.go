// Package health tells whether an instance of a service is well, by looking at it again and again.
//
//	m, err := health.Open(ctx, "10.0.0.7:8080",
//		health.HTTP("/healthz"),
//		health.Func("database", db.PingContext),
//	)
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	for {
//		changed := m.Changed()
//		log.Print(health.Worst(m.Results())) // {http /healthz critical 503 Service Unavailable …}
//		<-changed
//	}
//
// Package registry does this for what it registers: see its Options.Checks. A Check is a value;
// what its constructor has left at zero may be set:
//
//	c := health.Command("check_disk", "-w", "10%")
//	c.Interval, c.Timeout = time.Minute, 10*time.Second
//
// # Guarantees
//
//   - Only a change of status is told, after as many results in a row as the Check says. A check
//     is critical until something has passed: its first pass counts at once, if one is enough.
//   - A probe counts as failed at its Timeout, whatever it does. One that ignores its context is
//     not started again before it has returned: it holds one goroutine, not one an interval, and
//     fails each interval meanwhile. A panic in it is a failure with the panic's text: the check
//     of a service does not end the service.
//   - A command is killed at its Timeout with all that it started, unless that made a process
//     group of its own; where there are no process groups (Windows), it alone. What a probe
//     says costs at most 4 KiB, and is cut to one line of MaxOutput bytes.
//   - Open returns when each check has a result. Until a check passes for the first time its
//     probes come in quick succession, so that a service that starts is seen to have started;
//     then at a random part of the first Interval, so that many instances do not go in step.
//   - After Close no probe is started. Those under way are cancelled and waited for, for 1 s.
//   - The wall clock decides nothing: Result.At is for people.
//
// # Limits
//
// A probe looks from where it runs, and that is as a rule the machine of the instance: that the
// instance can be reached from elsewhere it does not tell. HTTP and TCP make a new connection
// each time, without a proxy. What is not here (a header, a client certificate) is a Probe of
// five lines.
package health
