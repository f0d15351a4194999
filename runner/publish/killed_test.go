package publish_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/runner/buildkit"
	"slipway/runner/publish"
)

// A command that SIGKILL ended is explained with the limit of the step, unless the builder knows a limit.
func TestAKilledCommandIsExplained(t *testing.T) {
	const sentence = "the command was killed (SIGKILL, exit code 137), as the kernel does when memory is short; "
	for name, c := range map[string]struct {
		fault buildkit.BuildError
		want  bool
	}{
		"killed":            {buildkit.BuildError{ExitCode: 137, Err: errors.New("exit code: 137")}, true},
		"a limit":           {buildkit.BuildError{ExitCode: 137, Limit: "killed: out of memory, limit 4 GB", Err: errors.New("x")}, false},
		"another code":      {buildkit.BuildError{ExitCode: 1, Err: errors.New("exit code: 1")}, false},
		"no command at all": {buildkit.BuildError{Err: errors.New("parse error")}, false},
	} {
		var err error = &c.fault
		publish.ExplainKilled(err)
		if got := strings.Contains(err.Error(), sentence); got != c.want {
			t.Errorf("%s: got %q, want %q in it: %t", name, err, sentence, c.want)
		}
	}
	publish.ExplainKilled(nil)
}
