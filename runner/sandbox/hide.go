package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HideProcess denies other processes of the same user access to this process's memory and initial
// environment, which contains tokens. Build hooks and RUN steps of a rootless builder run as that user.
// https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
func HideProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the memory of this process: %w", err)
	}
	return nil
}
