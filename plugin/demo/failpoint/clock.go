package failpoint

import (
	"os"
	"path/filepath"
	"time"
)

// A Clock steps the machine's clock of a gateway under test. The step is in a file that the test and the
// gateway share.
type Clock struct{ file string }

// clockVariable is the environment variable with a gateway's clock file.
const clockVariable = "SLIPWAY_TEST_CLOCK"

// NewClock returns a clock that was not stepped, for a gateway that is started with its Environment. dir
// must be an empty directory.
func NewClock(dir string) Clock { return Clock{filepath.Join(dir, "clock")} }

// ClockOfGateway returns the clock of this process if it is a gateway that was started with one.
func ClockOfGateway() (c Clock, ok bool) {
	c.file = os.Getenv(clockVariable)
	return c, c.file != ""
}

// Environment returns the clock as NAME=value, for the environment of a gateway.
func (c Clock) Environment() string { return clockVariable + "=" + c.file }

// Set sets the difference to the machine's real clock.
func (c Clock) Set(skew time.Duration) error {
	if err := os.WriteFile(c.file+".new", []byte(skew.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(c.file+".new", c.file)
}

// Skew returns the difference to the machine's real clock.
func (c Clock) Skew() time.Duration {
	text, err := os.ReadFile(c.file)
	if err != nil {
		return 0 // not set yet
	}
	skew, err := time.ParseDuration(string(text))
	if err != nil {
		return 0
	}
	return skew
}
