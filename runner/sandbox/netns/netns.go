// Package netns makes Linux network namespaces and runs functions in them. A namespace is an open file.
// It ends when the file is closed, and no process, socket or outside interface keeps it.
//
// The functions end the threads that entered a namespace. The kernel kills a process with a parent death
// signal when the thread that started it ends. So such a process must be started on a thread of its own,
// as package process does.
package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// New makes a network namespace and runs setup in it. Its owner is the user namespace of this process:
// a process that is root of another user namespace has no capability in it.
func New(setup func() error) (*os.File, error) {
	var file *os.File
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		opened, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return fmt.Errorf("open network namespace: %w", err)
		}
		if err := setup(); err != nil {
			opened.Close()
			return err
		}
		file = opened
		return nil
	})
	return file, err
}

// Do runs f in the network namespace, and returns the error of f. Sockets that f opens and processes
// that it starts stay in the namespace. Goroutines that f starts do not run in it. Do needs
// CAP_SYS_ADMIN in the owner of the namespace and in this process's user namespace.
func Do(namespace *os.File, f func() error) error {
	return onOwnThread(func() error {
		if err := Enter(namespace); err != nil {
			return err
		}
		return f()
	})
}

// Enter moves this thread to the network namespace. The thread must be locked and must end, as for
// process.Options.Setup.
func Enter(namespace *os.File) error {
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// AllowPing lets the programs of this thread's network namespace use ping without a capability. Group IDs
// that this process's user namespace does not have are an error, so it tries fewer. If none works, for
// example with a read-only /proc/sys, only ping fails.
func AllowPing() {
	for _, groups := range []string{"0 2147483647", "0 65535", "0 0"} {
		if os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte(groups), 0) == nil {
			return
		}
	}
}

// Path returns a path of the namespace for other processes. It is valid while this process runs and
// the file is open.
func Path(namespace *os.File) string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), namespace.Fd())
}

// onOwnThread runs f on a thread that ends afterwards. It cannot go back to the first namespace, because
// root of a user namespace has no rights over it.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end. It would stay in the namespace and keep it. While this
			// goroutine has it, the next one runs on another thread.
			defer runtime.UnlockOSThread()
			done <- onOwnThread(f)
			return
		}
		done <- f() // never unlocked: the thread ends with the goroutine
	}()
	return <-done
}
