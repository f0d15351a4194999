package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// fixIDMaps is the fix if the set-uid helpers fail in a container. Root of the container may lack a
// right there that a user's process with the single capability has.
const fixIDMaps = "run setcap cap_setuid=ep /usr/bin/newuidmap and setcap cap_setgid=ep /usr/bin/newgidmap " +
	"in the container's image, or run it as root"

// A modeError reports that an isolation does not work here. Another one may work.
type modeError struct {
	candidate isolation
	err       error
	fix       string // empty = the fix of the plan
}

func (e *modeError) Error() string {
	if e.candidate.sharedPIDs {
		return fmt.Sprintf("%s, sharing /proc: %v", e.candidate.mode, e.err)
	}
	return fmt.Sprintf("%s: %v", e.candidate.mode, e.err)
}

// masked reports whether the error is a /proc that cannot be mounted.
func (e *modeError) masked() bool { return e != nil && strings.HasPrefix(e.err.Error(), mountProc) }

// A starter starts a command. The caller must wait for the returned process.
type starter func(cmd *exec.Cmd) (started, error)

// A started process is an execProcess, or a process.Builder whose output is read.
type started interface {
	PID() int
	Signal(signal syscall.Signal)
	Wait() error
}

func kill(process started) func() { return func() { process.Signal(syscall.SIGKILL) } }

// execProcess is a process whose output is not read.
type execProcess struct{ cmd *exec.Cmd }

var _ started = execProcess{}

func startExec(cmd *exec.Cmd) (started, error) { return execProcess{cmd}, cmd.Start() }

func (p execProcess) PID() int                     { return p.cmd.Process.Pid }
func (p execProcess) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) } // if it has not ended
func (p execProcess) Wait() error                  { return p.cmd.Wait() }

// A launched server runs in one of the isolations. When its control pipe is closed, even by a crash of
// this process, the server and all its processes end.
type launched struct {
	process   started
	candidate isolation
	control   controlPipe
}

// launch is the stage that the user starts. It runs the server until it ends, and returns an error with
// the server's exit code. The server gets the inherited files.
func launch(ctx context.Context, plan isolationPlan, inherited Inheritance) error {
	command := func() *exec.Cmd {
		cmd := selfCommand(stageInit)
		cmd.ExtraFiles = inherited.files()
		return cmd
	}
	server, err := firstWorking(ctx, plan, command, startExec)
	if err != nil {
		return err
	}
	defer server.control.close()
	stop := forward(ctx, server.process)
	defer stop()
	return exitWith(server.process.Wait())
}

// firstWorking tries the candidates of the plan until the server runs in one. command returns a new
// command of the stage init. If no candidate works, the error is a *NotSupportedError.
func firstWorking(ctx context.Context, plan isolationPlan, command func() *exec.Cmd, start starter) (launched, error) {
	var refused *modeError
	for _, candidate := range plan.candidates {
		if candidate.sharedPIDs && !refused.masked() {
			continue // it would fail like the last candidate
		}
		server, err := startIn(ctx, candidate, command(), start)
		if !errors.As(err, &refused) {
			return server, err
		}
		plan.reasons = append(plan.reasons, refused.Error())
		plan.fix = cmp.Or(refused.fix, plan.fix)
	}
	return launched{}, plan.notSupported()
}

// startIn starts the stage init in one isolation. It returns a *modeError if the isolation does not
// work here.
func startIn(ctx context.Context, candidate isolation, cmd *exec.Cmd, start starter) (server launched, err error) {
	cmd.Env = append(cmd.Env, launchPIDVar+"="+strconv.Itoa(os.Getpid()), machineVar+"="+ThisMachine().Text())
	if candidate.sharedPIDs {
		cmd.Env = append(cmd.Env, sharedPIDsVar+"=1")
	}
	attr := candidate.attr
	cmd.SysProcAttr = &attr
	if candidate.mapIDs != nil {
		cmd.Env = append(cmd.Env, stageVar+"="+stageMap)
	}
	control, err := newControlPipe(cmd)
	if err != nil {
		return launched{}, fmt.Errorf("start the builder: %w", err)
	}
	defer func() {
		if err != nil {
			control.close()
		}
	}()
	process, err := start(cmd)
	control.closeChildEnds()
	if err != nil {
		return launched{}, &modeError{candidate: candidate, err: errnoOf(err)}
	}
	defer context.AfterFunc(ctx, kill(process))()
	if err := writeIDMaps(ctx, candidate, process.PID(), control.control); err != nil {
		kill(process)()
		_ = process.Wait() // it was killed
		return launched{}, &modeError{candidate: candidate, err: err, fix: fixIDMaps}
	}
	status, err := control.readStatus()
	if err != nil || status != mountsDone {
		_ = process.Wait() // it ends by itself
		return launched{}, statusError(ctx, candidate, status)
	}
	return launched{process, candidate, control}, nil
}

// writeIDMaps maps the ids of a process that waits for them, and then writes a byte to its control pipe.
func writeIDMaps(ctx context.Context, candidate isolation, pid int, control io.Writer) error {
	if candidate.mapIDs == nil {
		return nil
	}
	if err := candidate.mapIDs(ctx, pid); err != nil {
		return fmt.Errorf("map user ids: %w", err)
	}
	_, err := control.Write([]byte{1})
	return err
}

// statusError returns the error for an init that ended before the server started.
func statusError(ctx context.Context, candidate isolation, status string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case status == "":
		return errors.New("start the builder: it ended without a status: check its log")
	}
	return &modeError{candidate: candidate, err: errors.New(status)}
}
