// Package ending is how the programs end: what they say of an error, and their exit code.
package ending

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"
)

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
