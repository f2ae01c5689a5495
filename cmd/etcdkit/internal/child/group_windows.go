package child

import "os"

func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }
func atTerminal() bool       { return true }
