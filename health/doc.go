// Package health checks again and again whether an instance of a service works.
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
// Package registry does this for what it registers: see its Options.Checks. A Check is a value. Fields
// that its constructor leaves zero can be set:
//
//	c := health.Command("check_disk", "-w", "10%")
//	c.Interval, c.Timeout = time.Minute, 10*time.Second
//
// # Guarantees
//
//   - Changed is closed only when a status changes, which takes as many results in a row as the Check
//     says. A check is critical until it has passed: the first pass counts, if one is enough.
//   - A probe counts as failed at its Timeout, whatever it does. A probe that ignores its context is
//     not started again before it has returned: it holds one goroutine in all, and counts as failed at
//     each Interval until then. A panic in it is a failure with the panic's text: a check does not end
//     its service.
//   - A command is killed at its Timeout, together with all processes that it has started in its
//     process group. Where there are no process groups (Windows), only the command itself is killed.
//     At most 4 KiB of a probe's output are kept, and cut to one line of MaxOutput bytes.
//   - Open returns when each check has a result. Until a check passes for the first time its probes
//     follow each other quickly, so that a service's start is seen soon. Then the first pause is a
//     random part of the Interval, so that the probes of many instances are spread out.
//   - After Close no probe is started. Close cancels probes under way and waits up to 1 s for them.
//   - No decision depends on the wall clock: Result.At is for people.
//
// # Limits
//
// A probe usually runs on the machine of the instance: it does not show that the instance can be reached
// from other machines. HTTP and TCP make a new connection each time, without a proxy. For more, such as a
// header or a client certificate, write a Probe of five lines.
package health
