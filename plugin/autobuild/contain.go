package autobuild

import (
	"fmt"
	"runtime/debug"
)

// Contain calls f and makes an error of its panic. Loops that serve many repositories do the
// work of each in it: data of one that nobody foresaw must not end the process, for it would be
// there again after the restart.
func Contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
