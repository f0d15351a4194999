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

// maxStatus is the longest status that launch reads from init, in bytes.
const maxStatus = 4 << 10

// mendMaps is the fix if the set-uid helpers fail in a container. Root of the container may lack a
// right there that a user's process with the single capability has.
const mendMaps = "run setcap cap_setuid=ep /usr/bin/newuidmap and setcap cap_setgid=ep /usr/bin/newgidmap in the container's image, or run it as root"

// mountsDone is the status that init reports after it has made its mounts. Any other status is an
// error text.
const mountsDone = "done"

// A modeError reports that an isolation does not work here. Another one may work.
type modeError struct {
	candidate isolation
	err       error
	mend      string // the fix; empty = the fix of the plan
}

func (e *modeError) Error() string {
	if e.candidate.sharedPIDs {
		return fmt.Sprintf("%s, with /proc as it is: %v", e.candidate.mode, e.err)
	}
	return fmt.Sprintf("%s: %v", e.candidate.mode, e.err)
}

// masked reports whether the error is a /proc that cannot be mounted.
func (e *modeError) masked() bool { return e != nil && strings.HasPrefix(e.err.Error(), mountProc) }

// A starter starts a command. The caller must wait for the returned process.
type starter func(cmd *exec.Cmd) (started, error)

// A started process is an exec.Cmd, or a child whose output is read.
type started interface {
	PID() int
	Signal(signal syscall.Signal)
	Wait() error
}

func kill(process started) func() { return func() { process.Signal(syscall.SIGKILL) } }

// A launched server runs in one of the isolations. When its control pipe is closed, also by a crash of
// this process, the server ends with all processes that it has started.
type launched struct {
	process   started
	candidate isolation
	life      controlPipe
}

// launch is the stage that the user starts. It runs the server until it ends, and returns an error with
// the server's exit code.
func launch(ctx context.Context, plan isolationPlan) error {
	server, err := firstWorking(ctx, plan, func() *exec.Cmd { return selfCommand(stageInit) }, startHere)
	if err != nil {
		return err
	}
	defer server.life.close()
	stop := forward(ctx, server.process)
	defer stop()
	return exitWith(server.process.Wait())
}

// firstWorking tries the candidates of the plan until the server runs in one. command returns a new
// command of the stage init. If no candidate works, the error is an *Obstacle.
func firstWorking(ctx context.Context, plan isolationPlan, command func() *exec.Cmd, start starter) (launched, error) {
	var refused *modeError
	for _, candidate := range plan.candidates {
		if candidate.sharedPIDs && !refused.masked() {
			continue // it would fail like the last candidate
		}
		server, err := attempt(ctx, candidate, command(), start)
		if !errors.As(err, &refused) {
			return server, err
		}
		plan.reasons = append(plan.reasons, refused.Error())
		plan.mend = cmp.Or(refused.mend, plan.mend)
	}
	return launched{}, plan.obstacle()
}

// attempt starts the stage init in one isolation. It returns a *modeError if the isolation does not
// work here.
func attempt(ctx context.Context, candidate isolation, cmd *exec.Cmd, start starter) (server launched, err error) {
	cmd.Env = append(cmd.Env, launchPIDVar+"="+strconv.Itoa(os.Getpid()))
	if candidate.sharedPIDs {
		cmd.Env = append(cmd.Env, pidsVar+"="+pidsShared)
	}
	attr := candidate.attr
	cmd.SysProcAttr = &attr
	if candidate.mapIDs != nil {
		cmd.Env = append(cmd.Env, stageVar+"="+stageMap)
	}
	life, err := pipes(cmd)
	if err != nil {
		return launched{}, fmt.Errorf("start builder: %w", err)
	}
	defer func() {
		if err != nil {
			life.close()
		}
	}()
	process, err := start(cmd)
	life.started()
	if err != nil {
		return launched{}, &modeError{candidate: candidate, err: errnoOf(err)}
	}
	defer context.AfterFunc(ctx, kill(process))()
	if err := writeIDMaps(ctx, candidate, process.PID(), life.ours); err != nil {
		kill(process)()
		_ = process.Wait() // it was killed
		return launched{}, &modeError{candidate: candidate, err: err, mend: mendMaps}
	}
	words, err := io.ReadAll(io.LimitReader(life.status, maxStatus))
	if err != nil || string(words) != mountsDone {
		_ = process.Wait() // it ends by itself
		return launched{}, ended(ctx, candidate, string(words))
	}
	return launched{process, candidate, life}, nil
}

// execProcess is a process whose output is not read.
type execProcess struct{ cmd *exec.Cmd }

var _ started = execProcess{}

func startHere(cmd *exec.Cmd) (started, error) { return execProcess{cmd}, cmd.Start() }

func (p execProcess) PID() int                     { return p.cmd.Process.Pid }
func (p execProcess) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) } // if it has not ended
func (p execProcess) Wait() error                  { return p.cmd.Wait() }

// writeIDMaps maps the ids of a process that waits for them, and then writes a byte to its control pipe.
func writeIDMaps(ctx context.Context, how isolation, pid int, life io.Writer) error {
	if how.mapIDs == nil {
		return nil
	}
	if err := how.mapIDs(ctx, pid); err != nil {
		return fmt.Errorf("map user ids: %w", err)
	}
	_, err := life.Write([]byte{1})
	return err
}

// ended returns the error for an init that ended before the server started. words is its status.
func ended(ctx context.Context, candidate isolation, words string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case words == "":
		return errors.New("start builder: it ended without a word")
	}
	return &modeError{candidate: candidate, err: errors.New(words)}
}

// reportStatus reports the result of the mounts to launch.
func reportStatus(err error) {
	words := os.NewFile(statusFD, "words")
	text := mountsDone
	if err != nil {
		text = err.Error()
	}
	_, _ = io.WriteString(words, text) // fails only if launch has ended, and then this process ends soon
	_ = words.Close()
}

// controlPipe holds the pipes between launch and init.
type controlPipe struct {
	ours, status              *os.File // launch's ends
	childControl, childStatus *os.File // init's
}

// pipes creates the pipes between launch and init, and passes init's ends to the command.
func pipes(cmd *exec.Cmd) (l controlPipe, err error) {
	if l.childControl, l.ours, err = os.Pipe(); err != nil {
		return l, err
	}
	if l.status, l.childStatus, err = os.Pipe(); err != nil {
		return l, errors.Join(err, l.childControl.Close(), l.ours.Close())
	}
	cmd.ExtraFiles = []*os.File{l.childControl, l.childStatus}
	return l, nil
}

// started closes init's ends in this process. Call it after init has started.
func (l controlPipe) started() { _, _ = l.childControl.Close(), l.childStatus.Close() }

func (l controlPipe) close() { _, _ = l.ours.Close(), l.status.Close() }
