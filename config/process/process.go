// Package process starts child processes that the kernel kills if the parent process ends, even if
// the parent crashes.
package process

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is the longest line of output that is passed on, in bytes. After a longer line, the rest
// of the output is discarded.
const maxLine = 16 << 10

// Options configure Start.
type Options struct {
	// Death is the signal that the kernel sends to the process if the parent ends; 0 = SIGKILL.
	Death syscall.Signal
	// Line is called with each non-empty line of stdout and stderr, without surrounding spaces.
	// Calls do not overlap. If Line is nil, the command's own Stdout and Stderr are used.
	Line func(line string)
	// Setup runs on the thread that starts the process, before the start. The process inherits the thread's
	// state, for example its network namespace. No other goroutine ever runs on the thread. If Setup returns
	// an error, the process is not started, and Start returns the error.
	Setup func() error
}

// A Process is a started process. It is safe for concurrent use.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed after the process has ended; err does not change after that
	err   error
}

// Start starts the command in its own process group. So Ctrl-C signals only the parent, which can
// then stop the command in order. The error is the one of exec.Cmd.Start or Options.Setup.
func Start(cmd *exec.Cmd, o Options) (*Process, error) {
	if o.Death == 0 {
		o.Death = syscall.SIGKILL
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = o.Death, true
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go p.run(o, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the process and waits for its end on one locked thread. The kernel sends the death
// signal when the thread that started the process ends, not when the whole parent ends.
func (p *Process) run(o Options, started chan<- error) {
	runtime.LockOSThread()
	if o.Setup == nil {
		defer runtime.UnlockOSThread()
	} else if syscall.Gettid() == os.Getpid() {
		// The main thread cannot end, so the changes by Setup would stay. While this goroutine holds the
		// main thread, the next goroutine runs on another one.
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.run(o, started)
		}()
		<-done
		return
	}
	read, err := p.setUpAndStart(o)
	started <- err
	if err != nil {
		return
	}
	outputDone := make(chan struct{})
	go func() {
		defer close(outputDone)
		if read != nil {
			passLines(read, o.Line)
		}
	}()
	p.err = p.cmd.Wait()
	<-outputDone
	close(p.ended)
}

func (p *Process) setUpAndStart(o Options) (read *os.File, err error) {
	if o.Setup != nil {
		if err := o.Setup(); err != nil {
			return nil, err
		}
	}
	return p.start(o.Line != nil)
}

// start starts the process. If piped, read is the read end of a pipe for stdout and stderr, and the
// caller must close it; else read is nil.
func (p *Process) start(piped bool) (read *os.File, err error) {
	if !piped {
		return nil, p.cmd.Start()
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	p.cmd.Stdout, p.cmd.Stderr = write, write
	if err := p.cmd.Start(); err != nil {
		read.Close()
		return nil, err
	}
	return read, nil
}

// passLines calls line for each non-empty line until the end of the output, and closes read.
func passLines(read *os.File, line func(string)) {
	defer read.Close()
	lines := bufio.NewScanner(read)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			line(text)
		}
	}
	_, _ = io.Copy(io.Discard, read) // after a line that is too long: a full pipe would block the process
}

// PID returns the process ID, also after the process has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process. It does nothing if the process has ended.
func (p *Process) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// Ended returns a channel that is closed when the process has ended and its last line was passed to
// Options.Line. Children of the process that have its output delay that.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Running reports whether the process itself runs. It is false as soon as the process has ended, even if nobody has
// waited for it, and even if its children still run and Ended is still open.
func (p *Process) Running() bool {
	var end unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.PID(), &end, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && end.Signo == 0
}

// Wait waits for the end of the process and returns the result of exec.Cmd.Wait: nil for exit code 0,
// else usually an *exec.ExitError.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// End sends a signal that ends the process, and waits until it has ended. It has no time limit.
func (p *Process) End(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // it fails only if the process has already ended
	<-p.ended
}

// Stop sends SIGTERM and waits for the end of the process. If the process has not ended after grace,
// Stop kills its process group. A second call has no effect.
func (p *Process) Stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it fails only if the process has already ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
		return
	case <-timer.C:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}
