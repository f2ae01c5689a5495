//go:build !linux

package databases_test

import "syscall"

func dieWithUs() *syscall.SysProcAttr { return new(syscall.SysProcAttr) }
