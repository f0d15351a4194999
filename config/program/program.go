// Package program runs a program's commands from start to end: signals, what is said of an error,
// and the exit code.
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

// Run carries out a program's arguments and returns its exit code. SIGINT and SIGTERM end the
// context that the command gets; what ended it in error is printed to standard error.
func Run(app *cli.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app.ExitErrHandler = func(context.Context, *cli.Command, error) {} // ExitCode does it
	if err := app.Run(ctx, args); err != nil {
		return ExitCode(os.Stderr, err)
	}
	return 0
}

// ExitCode prints an error to w, once, and returns the exit code that it asks for: what
// the error says by an ExitCode method, else 1.
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
