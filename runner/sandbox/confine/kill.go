package confine

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalAll sends a signal to all processes of the hook. kill(-1) signals them all at once, so no
// process can start another one meanwhile. It reaches all processes that this thread may signal, so the
// thread first takes the rights of the hook.
//
// In a Landlock domain the thread already has these rights. Else it takes the hook's user as its
// effective user only. The kernel compares this user with the receiver's real and saved users. No other
// process has the thread's real user. So the hook cannot signal the thread, and the thread cannot signal
// the step.
func (g *guard) signalAll(s syscall.Signal) {
	if g.Level == LevelUser {
		if err := setUsers(g.IDs.Spare, g.IDs.Hook, 0); err != nil {
			g.Problem = fmt.Sprintf("become the hook's user: %v", err)
			return
		}
		defer func() {
			if err := setUsers(0, 0, 0); err != nil {
				g.Problem = fmt.Sprintf("become root again: %v", err)
			}
		}()
	}
	_ = unix.Kill(-1, s) // an error means that there are no other processes
}

// setUsers sets the user ids of this thread alone. The functions of package syscall change all threads.
func setUsers(realID, effective, saved int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(realID), uintptr(effective), uintptr(saved))
	if errno != 0 {
		return errno
	}
	return nil
}
