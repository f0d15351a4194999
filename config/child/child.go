// Package child starts processes that end with their starter, however that ends.
package child

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// maxLine bounds what is kept of one line of output, in bytes. What follows a longer one is not
// passed on.
const maxLine = 16 << 10

// Options say how a process is started.
type Options struct {
	Death syscall.Signal // what it gets when its starter ends; default SIGKILL
	// Line gets each line of its output, without the spaces around it, one after the other; nil =
	// the command's own Stdout and Stderr do.
	Line func(line string)
}

// A Child is a process that was started. It is safe for concurrent use.
type Child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended; err is final then
	err   error
}

// Start starts the command in a process group of its own: Ctrl-C is for the starter, which then
// stops it in order.
func Start(cmd *exec.Cmd, o Options) (*Child, error) {
	if o.Death == 0 {
		o.Death = syscall.SIGKILL
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = o.Death, true
	c := &Child{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go c.run(o.Line, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// run owns the process from start to end, on one thread: the kernel takes the end of the thread
// that started a process for the end of its parent.
func (c *Child) run(line func(string), started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	read, err := c.start(line != nil)
	started <- err
	if err != nil {
		return
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		if read != nil {
			follow(read, line)
		}
	}()
	c.err = c.cmd.Wait()
	<-followed
	close(c.ended)
}

// start starts the process; read is the end of a pipe that has its output, if that is piped.
func (c *Child) start(piped bool) (read *os.File, err error) {
	if !piped {
		return nil, c.cmd.Start()
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	c.cmd.Stdout, c.cmd.Stderr = write, write
	if err := c.cmd.Start(); err != nil {
		read.Close()
		return nil, err
	}
	return read, nil
}

func follow(read *os.File, line func(string)) {
	defer read.Close()
	lines := bufio.NewScanner(read)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			line(text)
		}
	}
	_, _ = io.Copy(io.Discard, read) // after a line too long: the process must not block
}

// PID is its process's number, also after its end.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Signal sends a signal, if the process has not ended.
func (c *Child) Signal(signal syscall.Signal) { _ = c.cmd.Process.Signal(signal) }

// Ended is closed when the process has ended, and its last line was passed on.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Running reports whether it has not ended.
func (c *Child) Running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// Err waits for the end and says how it ended, as exec.Cmd's Wait does.
func (c *Child) Err() error {
	<-c.ended
	return c.err
}

// End sends a signal that ends the process, and waits for that.
func (c *Child) End(signal syscall.Signal) {
	_ = c.cmd.Process.Signal(signal) // one that ended meanwhile is what we want
	<-c.ended
}

// Stop asks the process to end, kills its group when it has not after grace, and waits for the
// end. Calling it again is harmless.
func (c *Child) Stop(grace time.Duration) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that ended meanwhile is what we want
	over := time.NewTimer(grace)
	defer over.Stop()
	select {
	case <-c.ended:
		return
	case <-over.C:
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.ended
}
