//go:build long && linux

package main

import "testing"

func TestIn200TrialsNoCommandOutlivesItsLock(t *testing.T) { lossTrials(t, 10, 20) }
