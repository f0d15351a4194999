package guest

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// outputTimeout bounds the wait for the end of the output after all processes are dead. The end comes at
// once, because no process can hold the pipe any more.
const outputTimeout = 5 * time.Second

// execute runs a command until it and all its processes have ended.
func (s *server) execute(r request) end {
	read, write, err := os.Pipe()
	if err != nil {
		return notStarted(err)
	}
	defer read.Close()
	pid, err := start(r, write)
	write.Close()
	if err != nil {
		return notStarted(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		s.copyOutput(read)
	}()
	s.resendSignal()
	status := reap(pid)
	// No process can escape: a fork completes before the signal, or the kernel aborts it.
	_ = syscall.Kill(-1, syscall.SIGKILL) // an error means that no process is left
	reapAll()
	_ = read.SetReadDeadline(time.Now().Add(outputTimeout))
	<-copied
	if status.Signaled() {
		return end{endSignaled, int(status.Signal())}
	}
	return end{endExited, status.ExitStatus()}
}

// start starts the command in a session of its own, without standard input.
func start(r request, output *os.File) (pid int, err error) {
	if len(r.Args) == 0 {
		return 0, syscall.EINVAL
	}
	program, err := lookPath(r)
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	// When memory runs out, the kernel kills children with a high score before this process.
	setKillScore(500)
	defer setKillScore(0)
	//nolint:gosec // G204: a sandbox runs any command
	return syscall.ForkExec(program, r.Args, &syscall.ProcAttr{
		Dir:   r.Dir,
		Env:   r.Env,
		Files: []uintptr{null.Fd(), output.Fd(), output.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// setKillScore sets how likely the kernel kills this process, and children that start now, when memory
// runs out. An error means that the kernel chooses by size alone.
// https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html
func setKillScore(score int) {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
}

// lookPath returns the path of the program. A name without slash is searched in PATH of the command's
// environment, not in that of this process.
func lookPath(r request) (string, error) {
	name := r.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	list := ""
	for _, v := range r.Env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			list = path
		}
	}
	for _, dir := range filepath.SplitList(list) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(r.Dir, dir)
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", syscall.ENOENT
}

// copyOutput sends the output to the client until its end.
func (s *server) copyOutput(read *os.File) {
	buffer := make([]byte, maxOutput)
	for {
		n, err := read.Read(buffer)
		if n > 0 && s.send(frameOutput, buffer[:n]) != nil {
			return // the client is gone; this process ends soon
		}
		if err != nil {
			return
		}
	}
}

// notStarted returns the end of a command that could not be started.
func notStarted(err error) end {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		errno = syscall.EIO
	}
	return end{endNotStarted, int(errno)}
}

// reap waits for all children and adopted orphans until the process pid ends.
func reap(pid int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		if ended == pid || errors.Is(err, syscall.ECHILD) {
			return status
		}
	}
}

// reapAll waits for children until none is left.
func reapAll() {
	for {
		if _, err := syscall.Wait4(-1, nil, syscall.WALL, nil); errors.Is(err, syscall.ECHILD) {
			return
		}
	}
}
