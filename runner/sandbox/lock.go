package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipway/config/process"
)

// A LockedError reports that another server uses the state directory.
type LockedError struct {
	State string
	PID   int // process ID of the other server in its parent's PID namespace; 0 = unknown
}

// Error names the state directory, and the ID of the other process if it is known.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("builder state %s is in use by another process", e.State)
	}
	return fmt.Sprintf("builder state %s is in use by process %d", e.State, e.PID)
}

// Is reports whether target is process.ErrStateLocked.
func (e *LockedError) Is(target error) bool { return target == process.ErrStateLocked }

// LockState locks the state directory for this process. pid is the process ID to write into the lock; 0
// = the ID of this process. If another process has the lock, LockState returns a *LockedError at once.
// BuildKit itself would wait for its database silently and forever. The kernel releases the lock when
// the process ends, even if it crashes.
func LockState(state string, pid int) (unlock func(), err error) {
	path := filepath.Join(state, "builder.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of builder state: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer func() { _ = file.Close() }()
		return nil, &LockedError{State: state, PID: readPID(file)}
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock builder state %s: %w", state, err)
	}
	if err := writePID(file, cmp.Or(pid, os.Getpid())); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write lock of builder state %s: %w", state, err)
	}
	return func() { _ = file.Close() }, nil
}

func readPID(file *os.File) int {
	text := make([]byte, 32)
	n, _ := file.ReadAt(text, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

// writePID writes the ID of the owner of a lock, which only an error message needs. So a full disk, whose caches only
// the owner may delete, is no error.
func writePID(file *os.File, pid int) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	if errors.Is(err, unix.ENOSPC) {
		err = file.Truncate(0)
	}
	return err
}
