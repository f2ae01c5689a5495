package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/input"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// yesFlag adds the flag that answers confirm.
func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do it without asking")
}

// confirm asks whether to do what the text says, as in "delete 12 keys". Elsewhere than at a terminal
// it is an error unless yes is set. Nothing has been done so far.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if yes {
		return nil
	}
	if !input.IsTerminal(a.stdin) {
		return coded(ExitUsage, fmt.Errorf("this would %s; --yes does it without asking", what)) // the usage would not help
	}
	a.asks.Store(true)
	defer a.asks.Store(false)
	a.out.Askf("This will %s. Go on? [y/N] ", what)
	answer, err := bufio.NewReader(input.Until(ctx, a.stdin)).ReadString('\n')
	if ctx.Err() != nil {
		a.out.Talkf("") // the terminal has written ^C
		return interrupted(ctx, err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// typed is stdin until ctx ends. If it is a terminal it says that it reads what, as in "the value".
func (a *app) typed(ctx context.Context, what string) io.Reader {
	if input.IsTerminal(a.stdin) {
		a.out.Talkf("etcdkit: reading %s from the terminal; Ctrl-D on a new line ends it", what)
	}
	return input.Until(ctx, a.stdin)
}

// confirmReplace asks whether to write over a file, if there is one of this name.
func (a *app) confirmReplace(ctx context.Context, yes bool, name string) error {
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil // createFile says what else is wrong
	}
	return a.confirm(ctx, yes, "replace the file %s", quote.Text(name))
}
