package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// lockVerbs are the commands about locks that run no command of the user.
func lockVerbs(a *app) []*cobra.Command {
	return notNames([]*cobra.Command{
		newLockLs(a), newLockShow(a), newLockRevoke(a), newLockAcquire(a), newLockRenew(a), newLockRelease(a),
	})
}

// notNames has verbs of a wrapper refuse "-- CMD": then the verb was meant as a name.
func notNames(verbs []*cobra.Command) []*cobra.Command {
	for _, verb := range verbs {
		args := verb.Args
		verb.Args = func(cmd *cobra.Command, got []string) error {
			if cmd.ArgsLenAtDash() == 0 && len(got) > 0 && !strings.HasPrefix(got[0], "-") {
				parent := cmd.Parent().CommandPath()
				return coded(ExitWrapper, usagef("%[1]q is a command of %[2]s, and runs no command; if it is a name: %[2]s run %[1]s -- %[3]s", cmd.Name(), parent, strings.Join(got, " ")))
			}
			return args(cmd, got)
		}
	}
	return verbs
}
