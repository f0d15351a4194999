package builder

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

// maxWords bounds what init says of its mounts, in bytes.
const maxWords = 4 << 10

// mendMaps is for set-uid helpers in a container: their root may not what a user's own process
// with the one capability may.
const mendMaps = "run setcap cap_setuid=ep /usr/bin/newuidmap and setcap cap_setgid=ep /usr/bin/newgidmap in the container's image, or run it as root"

// mountsDone is what init says when its mounts are made; anything else is why they are not.
const mountsDone = "done"

// A wayError says that a way cannot be gone here, and another one may be.
type wayError struct {
	way  isolation
	err  error
	mend string // what would help; empty = what the plan says
}

func (e *wayError) Error() string {
	if e.way.sharedPIDs {
		return fmt.Sprintf("%s, with /proc as it is: %v", e.way.mode, e.err)
	}
	return fmt.Sprintf("%s: %v", e.way.mode, e.err)
}

// masked reports whether it was /proc that could not be mounted.
func (e *wayError) masked() bool { return e != nil && strings.HasPrefix(e.err.Error(), mountProc) }

// A starter starts a command, which then is its own to wait for.
type starter func(cmd *exec.Cmd) (started, error)

// A started process is one of exec's, or a child that is followed.
type started interface {
	PID() int
	Signal(signal syscall.Signal)
	Wait() error
}

func kill(process started) func() { return func() { process.Signal(syscall.SIGKILL) } }

// A launched server runs in one of the ways. What holds it on is the lifeline: when that is
// closed, however that comes about, the server ends, and all that it has started.
type launched struct {
	process started
	way     isolation
	life    lifeline
}

// launch is the stage that people start: it runs the server until that ends, and ends with its
// exit code.
func launch(ctx context.Context, plan isolationPlan) error {
	server, err := inOneWay(ctx, plan, func() *exec.Cmd { return again(stageInit) }, startHere)
	if err != nil {
		return err
	}
	defer server.life.close()
	stop := forward(ctx, server.process)
	defer stop()
	return exitWith(server.process.Wait())
}

// inOneWay tries the ways of the plan until the server runs in one. Command makes the one of the
// stage init. Where none can be gone, the error is an *Obstacle.
func inOneWay(ctx context.Context, plan isolationPlan, command func() *exec.Cmd, start starter) (launched, error) {
	var refused *wayError
	for _, way := range plan.ways {
		if way.sharedPIDs && !refused.masked() {
			continue // it would fail as the way before
		}
		server, err := attempt(ctx, way, command(), start)
		if !errors.As(err, &refused) {
			return server, err
		}
		plan.against = append(plan.against, refused.Error())
		plan.mend = cmp.Or(refused.mend, plan.mend)
	}
	return launched{}, plan.obstacle()
}

// attempt runs the other stages in one way. Its error is a *wayError when it cannot be gone here.
func attempt(ctx context.Context, way isolation, cmd *exec.Cmd, start starter) (server launched, err error) {
	cmd.Env = append(cmd.Env, launchPIDVar+"="+strconv.Itoa(os.Getpid()))
	if way.sharedPIDs {
		cmd.Env = append(cmd.Env, pidsVar+"="+pidsShared)
	}
	attr := way.attr
	cmd.SysProcAttr = &attr
	if way.mapIDs != nil {
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
		return launched{}, &wayError{way: way, err: innermost(err)}
	}
	defer context.AfterFunc(ctx, kill(process))()
	if err := letGo(ctx, way, process.PID(), life.ours); err != nil {
		kill(process)()
		_ = process.Wait() // it was killed
		return launched{}, &wayError{way: way, err: err, mend: mendMaps}
	}
	words, err := io.ReadAll(io.LimitReader(life.words, maxWords))
	if err != nil || string(words) != mountsDone {
		_ = process.Wait() // it ends by itself
		return launched{}, ended(ctx, way, string(words))
	}
	return launched{process, way, life}, nil
}

// here is a process that nobody follows.
type here struct{ cmd *exec.Cmd }

var _ started = here{}

func startHere(cmd *exec.Cmd) (started, error) { return here{cmd}, cmd.Start() }

func (h here) PID() int                     { return h.cmd.Process.Pid }
func (h here) Signal(signal syscall.Signal) { _ = h.cmd.Process.Signal(signal) } // if it has not ended
func (h here) Wait() error                  { return h.cmd.Wait() }

// letGo maps the ids of a process that waits for them.
func letGo(ctx context.Context, how isolation, pid int, life io.Writer) error {
	if how.mapIDs == nil {
		return nil
	}
	if err := how.mapIDs(ctx, pid); err != nil {
		return fmt.Errorf("map user ids: %w", err)
	}
	_, err := life.Write([]byte{1})
	return err
}

// ended is the error of an init that ended before there was a server.
func ended(ctx context.Context, way isolation, words string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case words == "":
		return errors.New("start builder: it ended without a word")
	}
	return &wayError{way: way, err: errors.New(words)}
}

// sayWords tells launch what became of the mounts.
func sayWords(err error) {
	words := os.NewFile(wordsFD, "words")
	text := mountsDone
	if err != nil {
		text = err.Error()
	}
	_, _ = io.WriteString(words, text) // launch is gone, and so are we soon
	_ = words.Close()
}

// lifeline is the pipes between launch and init.
type lifeline struct {
	ours, words           *os.File // launch's ends
	theirLife, theirWords *os.File // init's
}

// pipes gives a command the ends of the pipes that init expects.
func pipes(cmd *exec.Cmd) (l lifeline, err error) {
	if l.theirLife, l.ours, err = os.Pipe(); err != nil {
		return l, err
	}
	if l.words, l.theirWords, err = os.Pipe(); err != nil {
		return l, errors.Join(err, l.theirLife.Close(), l.ours.Close())
	}
	cmd.ExtraFiles = []*os.File{l.theirLife, l.theirWords}
	return l, nil
}

// started closes init's ends here, once it has them.
func (l lifeline) started() { _, _ = l.theirLife.Close(), l.theirWords.Close() }

func (l lifeline) close() { _, _ = l.ours.Close(), l.words.Close() }
