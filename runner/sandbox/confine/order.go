package confine

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"slipway/runner/buildhooks"
)

// Descriptors of the guard, besides the hook's output. The stage enter has the same, with an
// enterReport.
const (
	orderFD  = 3
	reportFD = 4
)

// stopByte on the control pipe ends the hook with SIGTERM first.
const stopByte = 's'

// An order is the task of a guard. If File is empty, the guard only kills the processes of IDs.Hook.
type order struct {
	Level     Level
	IDs       ids
	Processes uint64
	File      string
	Dir       string
	Environ   []string
	Shared    []string
	Grace     time.Duration
	// Enter makes the receiver the stage enter.
	Enter bool
}

// A report is the result of a guard.
type report struct {
	Problem string        // the hook could not be confined, so it did not run
	Errno   syscall.Errno // the kernel did not execute the hook's file
	Status  uint32        // status of wait(2), if Problem and Errno are empty
	Left    bool          // a killed process did not end in time
}

// result returns the error of a hook's end.
func (r report) result(ctx context.Context, hook buildhooks.Name) error {
	if err := r.problem(); err != nil {
		return fmt.Errorf("build hook %s: %w", hook, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("build hook %s: %w", hook, context.Cause(ctx))
	}
	if r.Errno != 0 {
		return &buildhooks.Failure{Hook: hook, Code: -1, Why: buildhooks.StartProblem(r.Errno)}
	}
	status := syscall.WaitStatus(r.Status)
	switch {
	case status.Signaled():
		return &buildhooks.Failure{Hook: hook, Code: -1, Why: fmt.Sprintf("was killed (signal: %s)", status.Signal())}
	case status.ExitStatus() != 0:
		return &buildhooks.Failure{Hook: hook, Code: status.ExitStatus()}
	}
	return nil
}

// problem returns the errors of the guard, not of the hook.
func (r report) problem() error {
	var errs []error
	if r.Problem != "" {
		errs = append(errs, errors.New(r.Problem))
	}
	if r.Left {
		errs = append(errs, fmt.Errorf("a process of the hook did not end within %s after SIGKILL", killTimeout))
	}
	return errors.Join(errs...)
}
