package autobuild

import (
	"fmt"
	"runtime/debug"
)

// Contain calls f and returns a panic of f as an error with its stack. Loops over many
// repositories use it for each one: unexpected data of one repository must not end the process,
// because it would do so again after a restart.
func Contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
