// Package program runs the commands of a program. It handles signals, prints errors, and returns the
// exit code.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"
)

// Run runs the command that the arguments name and returns the exit code. SIGINT and SIGTERM cancel
// the command's context. Run prints the command's error to standard error. It adds the directories of
// SystemPath to the process's PATH.
func Run(app *cli.Command, args []string) int {
	if err := os.Setenv("PATH", SystemPath(os.Getenv("PATH"))); err != nil { // the PATH has a NUL
		return ExitCode(os.Stderr, fmt.Errorf("change PATH: %w", err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app.ExitErrHandler = func(context.Context, *cli.Command, error) {} // ExitCode handles errors
	if err := app.Run(ctx, args); err != nil {
		return ExitCode(os.Stderr, err)
	}
	return 0
}

// ExitCode prints an error to w and returns the exit code: that of the error if it implements
// cli.ExitCoder, else 1.
func ExitCode(w io.Writer, err error) int {
	if text := err.Error(); text != "" {
		fmt.Fprintln(w, "slipway:", Plain(text))
	}
	var coder cli.ExitCoder
	if errors.As(err, &coder) {
		return coder.ExitCode()
	}
	return 1
}
