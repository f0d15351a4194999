// Package safe keeps a panic in one piece of work from ending the process.
package safe

import (
	"fmt"
	"runtime/debug"
)

// Do calls f and returns its error. If f panics, Do returns an error with the panic's value and stack. A
// loop over many repositories calls it for each one. Unexpected data of one repository must not end the
// process, because the data is still there after a restart.
func Do(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
