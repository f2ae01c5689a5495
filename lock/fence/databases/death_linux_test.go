package databases_test

import "syscall"

// dieWithUs has a process end when this one does, however that happens.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} }
