package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HideProcess keeps other processes of the same user, such as build hooks, from reading this process's
// memory and its first environment, where the token was.
func HideProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the runner from its build hooks: %w", err)
	}
	return nil
}
