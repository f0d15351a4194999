package buildhooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	defaultGrace = 10 * time.Second
	// drain bounds the time for which output is read after the end of the hook, if a process outside its
	// group keeps the pipe open.
	drain = time.Second
)

// A Process runs hooks as child processes of this user. It isolates nothing.
type Process struct{}

var _ Executor = Process{}

// Execute runs the program in its own process group. When ctx ends, the whole group receives SIGTERM,
// and SIGKILL after the grace time.
func (Process) Execute(ctx context.Context, p Program) error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("build hook %s: %w", p.Hook, err)
	}
	defer read.Close()
	cmd := exec.CommandContext(ctx, p.File) //nolint:gosec // the hook, which the caller has found in the checkout
	cmd.Dir, cmd.Env = p.Dir, p.Environ
	cmd.Stdout, cmd.Stderr = write, write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = p.grace()
	err = cmd.Start()
	write.Close()
	if err != nil {
		return &Failure{Hook: p.Hook, Code: -1, Why: StartProblem(err)}
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(p.Output, read)
	}()
	err = cmd.Wait()
	p.endGroup(ctx, cmd.Process.Pid)
	_ = read.SetReadDeadline(time.Now().Add(drain))
	<-copied
	return resultOf(ctx, p.Hook, err)
}

func resultOf(ctx context.Context, name Name, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("build hook %s: %w", name, context.Cause(ctx))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &Failure{Hook: name, Code: exit.ExitCode(), Why: "was killed (" + exit.String() + ")"}
	}
	if err != nil {
		return fmt.Errorf("build hook %s: %w", name, err)
	}
	return nil
}

// endGroup kills the processes that the hook left behind: they could change the tree during the build.
// If ctx ended, they first get the grace time to clean up.
func (e Execution) endGroup(ctx context.Context, group int) {
	if ctx.Err() != nil {
		e.awaitGroup(group)
	}
	_ = syscall.Kill(-group, syscall.SIGKILL) // an error means that the group has ended already
}

func (e Execution) awaitGroup(group int) {
	over := time.NewTimer(e.grace())
	defer over.Stop()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for syscall.Kill(-group, 0) == nil {
		select {
		case <-over.C:
			return
		case <-poll.C:
		}
	}
}

func (e Execution) grace() time.Duration {
	if e.Grace == 0 {
		return defaultGrace
	}
	return e.Grace
}

// StartProblem describes the error of a hook that could not be started.
func StartProblem(err error) string {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOEXEC) {
		return fmt.Sprintf(
			"could not be started: check that its first line names a program of this machine, for example #!/bin/sh: %v",
			err,
		)
	}
	return fmt.Sprintf("could not be started: %v", err)
}
