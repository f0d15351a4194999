package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Main runs the guard or the stage enter, depending on the order that it receives. It returns the exit
// code. A process that a Sandbox started must call it first in its main function.
func Main() int {
	// A Landlock domain, a user and the right to gain privileges belong to a thread.
	runtime.LockOSThread()
	out := os.NewFile(reportFD, "report")
	var r report
	var o order
	err := json.NewDecoder(os.NewFile(orderFD, "order")).Decode(&o)
	switch {
	case err != nil:
		r.Problem = fmt.Sprintf("receive the order: %v", err)
	case o.Enter:
		r = o.enter() // returns only if it failed
	default:
		r = o.guard()
	}
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return 1
	}
	return 0
}

// guard runs the hook and kills its remaining processes.
func (o order) guard() report {
	if err := o.prepare(); err != nil {
		return report{Problem: err.Error()}
	}
	g := &guard{order: o, children: make(chan os.Signal, 1), control: readControl(os.Stdin)}
	signal.Notify(g.children, unix.SIGCHLD)
	if o.File != "" {
		g.start()
	}
	for g.running {
		if !g.awaitEvent() {
			break
		}
	}
	return g.finish()
}

// prepare restricts this thread and so the hook, but leaves the rights that the guard needs.
func (o order) prepare() error {
	if err := hideFromHook(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	if o.Level == LevelLandlock {
		// The hook enters a domain inside this one. So the guard can signal only the hook, and the hook
		// cannot signal the guard.
		return enterDomain(scopes())
	}
	if o.File == "" {
		return nil // a Landlock domain would keep it from killing the processes of a lost guard
	}
	// A hook of another user does not need Landlock. Landlock also denies it abstract sockets of the
	// machine.
	if err := enterDomain(scopes().BestEffort()); err != nil {
		return err
	}
	if err := limitProcesses(o.Processes); err != nil {
		return err
	}
	return dropPrivileges()
}

// A guard is a running guard. Its methods run on the thread that started the hook.
type guard struct {
	order
	report
	hook     int // process ID
	running  bool
	stopping bool
	children chan os.Signal // SIGCHLD
	control  <-chan byte    // closed when the step closes its end
	overdue  <-chan time.Time
	failures *os.File // reports of the stage enter; nil = none
}

// start starts the hook.
func (g *guard) start() {
	var err error
	if g.Level == LevelLandlock {
		err = g.startEnter()
	} else {
		err = g.startAsUser()
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		g.Errno = errno
	case err != nil:
		g.Problem = err.Error()
	default:
		g.running = true
	}
}

func (g *guard) startAsUser() (err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return errors.New(err.Error()) // an Errno would be that of the hook
	}
	defer null.Close()
	id := uint32(g.IDs.Hook) //nolint:gosec // a small positive number
	//nolint:gosec // a hook of the repository, confined
	g.hook, err = syscall.ForkExec(g.File, []string{g.File}, &syscall.ProcAttr{
		Dir:   g.Dir,
		Env:   g.Environ,
		Files: []uintptr{null.Fd(), 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: id, Gid: id}},
	})
	return err
}

// awaitEvent waits for one event. It returns false when the hook's processes must be killed.
func (g *guard) awaitEvent() bool {
	select {
	case <-g.children:
		g.reap()
		return g.running
	case <-g.overdue:
		return false
	case _, ok := <-g.control:
		if !ok || g.stopping {
			return false
		}
		g.stopping = true
		g.overdue = time.After(g.Grace)
		g.signalAll(unix.SIGTERM)
		return true
	}
}

// reap waits for all children that have ended. It reports whether others are left.
func (g *guard) reap() (left bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return false // ECHILD
		case pid == 0:
			return true
		case pid == g.hook:
			g.running = false
			g.Status = uint32(status)
		}
	}
}

// finish kills all processes of the hook and returns the report. If the hook was stopped, its remaining
// processes first get the rest of the grace time.
func (g *guard) finish() report {
	for g.stopping && !g.running && g.reap() {
		if !g.awaitChild(g.overdue) {
			break
		}
	}
	tooLate := time.After(killTimeout)
	g.signalAll(unix.SIGKILL)
	for g.reap() {
		if !g.awaitChild(tooLate) {
			g.Left = true
			break
		}
		g.signalAll(unix.SIGKILL)
	}
	g.readFailure()
	return g.report
}

// awaitChild waits for the end of a child. It returns false if late comes first, or if the step closes
// the control pipe.
func (g *guard) awaitChild(late <-chan time.Time) bool {
	select {
	case <-g.children:
		return true
	case <-late:
		return false
	}
}

// readControl returns the bytes of the control pipe.
func readControl(f *os.File) <-chan byte {
	c := make(chan byte)
	go func() {
		defer close(c)
		b := make([]byte, 1)
		for {
			if n, err := f.Read(b); n != 1 || err != nil {
				return
			}
			c <- b[0]
		}
	}()
	return c
}
