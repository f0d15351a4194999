package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
)

// A killed BuildKit leaves its containers running and their file systems mounted. So the
// server runs in a PID and a mount namespace of its own, which the kernel clears with
// the last process in them:
//
//	launch   what the caller started and signals; stays outside
//	init     PID 1 inside: mounts, starts the server, reaps orphans
//	serve    the server
//
// Each stage is this program again with the same arguments. A pipe that launch holds open
// tells init when launch is gone, however it went; when init ends, the kernel kills all
// else in the namespaces. (PR_SET_PDEATHSIG would not do: the kernel forgets it when init
// gets its capabilities.)
const (
	stageVar  = "SLIPWAY_BUILDER_STAGE"
	stageInit = "init"
	stageMap  = "map" // init, before its ids are mapped
	stageRun  = "serve"

	launchPIDVar = "SLIPWAY_BUILDER_LAUNCH_PID"
	killGrace    = stopGrace + 5*time.Second
	lifeFD       = 3 // the pipe's end in init; one byte comes when the ids are mapped
)

func stage() string { return os.Getenv(stageVar) }

// isolatedPIDs reports whether this process has a PID namespace and a /proc of its own.
func isolatedPIDs() bool { return stage() == stageRun && os.Getppid() == 1 }

// outerPID is the process that stands for this server outside its namespaces.
func outerPID() int {
	if pid, err := strconv.Atoi(os.Getenv(launchPIDVar)); err == nil && stage() == stageRun {
		return pid
	}
	return os.Getpid()
}

// launch runs the other stages and ends with their exit code.
func launch(ctx context.Context, how isolation) error {
	if how.mode == ModeNone {
		return errors.New("builder cannot run here: " + how.reason)
	}
	cmd := again(stageInit)
	cmd.Env = append(cmd.Env, launchPIDVar+"="+strconv.Itoa(os.Getpid()))
	attr := how.attr
	cmd.SysProcAttr = &attr
	if how.mapIDs != nil {
		cmd.Env = append(cmd.Env, stageVar+"="+stageMap)
	}
	theirs, life, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start builder: %w", err)
	}
	defer func() { _ = life.Close() }()
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	_ = theirs.Close()
	if err != nil {
		return fmt.Errorf("start builder in its namespaces: %w", err)
	}
	if err := letGo(ctx, how, cmd.Process.Pid, life); err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	stop := forward(ctx, cmd.Process)
	defer stop()
	return exitWith(cmd.Wait())
}

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

// again is this program with the same arguments, in another stage.
func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // this very program; its stage before asks it to stop
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	return cmd
}

// forward asks a process to stop when ctx ends, and kills it when it does not.
func forward(ctx context.Context, process *os.Process) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		_ = process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(killGrace):
			_ = process.Kill()
		}
	}()
	return func() { close(done) }
}

// exitWith passes on an exit code; the stage that failed has already said why.
func exitWith(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return cli.Exit("", max(exit.ExitCode(), 1))
	}
	return err
}

// awaitMap waits until launch has mapped our ids and becomes this program again, because
// only then does the kernel give root of the namespace its capabilities.
func awaitMap() error {
	if n, err := syscall.Read(lifeFD, make([]byte, 1)); n != 1 {
		return fmt.Errorf("builder: user ids were not mapped: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := os.Setenv(stageVar, stageInit); err != nil {
		return fmt.Errorf("start builder again: %w", err)
	}
	return fmt.Errorf("start builder again: %w", syscall.Exec("/proc/self/exe", os.Args, os.Environ())) //nolint:gosec // this very program
}

// initProcess is PID 1 of the namespaces.
func initProcess(ctx context.Context, c Config) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("%s=%s is set, but this is not process 1 of a namespace", stageVar, stageInit)
	}
	syscall.CloseOnExec(lifeFD)
	go dieWithLaunch()
	server := again(stageRun)
	env, err := prepareMounts(c.State)
	if err != nil {
		return err
	}
	server.Env = append(server.Env, env...)
	if err := server.Start(); err != nil {
		return fmt.Errorf("start builder: %w", err)
	}
	stop := forward(ctx, server.Process)
	defer stop()
	code, err := reapUntil(server.Process.Pid)
	if err != nil || code == 0 {
		return err
	}
	return cli.Exit("", code)
}

// dieWithLaunch ends this process, and all in its namespaces with it, when launch is gone.
func dieWithLaunch() {
	_, _ = io.Copy(io.Discard, os.NewFile(lifeFD, "life"))
	os.Exit(1)
}

// prepareMounts gives the namespace its own /proc and its own place for runc's state,
// and returns the environment that goes with them.
func prepareMounts(state string) ([]string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, fmt.Errorf("mount /proc (in a container: --security-opt systempaths=unconfined): %w", err)
	}
	if privileged() {
		return nil, mountTmpfs("/run/runc")
	}
	// runc of a user namespace's root looks below XDG_RUNTIME_DIR, unless USER is root.
	runtimeDir := filepath.Join(state, "run")
	return []string{"XDG_RUNTIME_DIR=" + runtimeDir, "USER=slipway", "HOME=" + state}, mountTmpfs(runtimeDir)
}

func mountTmpfs(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// reapUntil waits for every child, adopted orphans included, until one process ends.
func reapUntil(pid int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, fmt.Errorf("wait for builder: %w", err)
		case ended != pid:
			continue
		case status.Exited():
			return status.ExitStatus(), nil
		default:
			return 128 + int(status.Signal()), nil
		}
	}
}
