package program_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/urfave/cli/v3"

	"slipway/config/program"
)

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
		text string
	}{
		{errors.New("broken"), 1, "slipway: broken\n"},
		{cli.Exit("usage", 2), 2, "slipway: usage\n"},
		{cli.Exit("", 1), 1, ""},
	} {
		var out bytes.Buffer
		if code := program.ExitCode(&out, tc.err); code != tc.code {
			t.Errorf("%v: got exit code %d, want %d", tc.err, code, tc.code)
		}
		if out.String() != tc.text {
			t.Errorf("%v: got output %q, want %q", tc.err, out.String(), tc.text)
		}
	}
}
