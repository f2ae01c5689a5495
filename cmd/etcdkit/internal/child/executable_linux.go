package child

import (
	"os"
	"path/filepath"
)

// executable is the program that this process runs: also when its file was replaced or removed since, as an upgrade
// does it.
func executable() (string, error) { return "/proc/self/exe", nil }

// nameProcess gives a process that was started by executable the program's name, for ps and top.
func nameProcess() {
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0) // without it the name is "exe"
}
