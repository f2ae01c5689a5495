package main

import "os/exec"

func endTogether(*exec.Cmd) {}
