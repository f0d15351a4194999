package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
)

// If BuildKit is killed, its containers keep running and their file systems stay mounted. So the
// server runs in its own PID and mount namespaces. The kernel removes these with their last process.
// There are three stages:
//
//	launch   the process that the caller starts and signals; it stays outside. A step is the launch
//	         stage of its own builder
//	init     PID 1 of the namespaces: it mounts, starts the server, and reaps orphans
//	serve    the server
//
// In a step's own builder, init is the server itself and reaps nothing. The builder and its orphans
// end soon anyway, and this saves the start of one program.
//
// Each stage except a step is this program with the same arguments. launch holds a pipe open. When
// launch ends, even by a crash, init reads the end of the pipe and exits. Then the kernel kills all
// other processes in the namespaces. PR_SET_PDEATHSIG would not work, because the kernel clears it
// when init gets its capabilities.
//
// In a container with a masked /proc there is no PID namespace, and init is an ordinary process. If
// init is not the server, the server ends with it. The processes that the server has started end with
// the container.
const (
	stageVar  = "SLIPWAY_BUILDER_STAGE"
	stageInit = "init"
	stageMap  = "map" // init, before its ids are mapped
	stageRun  = "serve"

	launchPIDVar = "SLIPWAY_BUILDER_LAUNCH_PID"
	inProcessVar = "SLIPWAY_BUILDER_BRIEF"   // set: init is also the server
	ephemeralVar = "SLIPWAY_BUILDER_LOST"    // set: the state is removed with the builder
	contextVar   = "SLIPWAY_BUILDER_CONTEXT" // directory of the build context; only with ephemeralVar
	pidsVar      = "SLIPWAY_BUILDER_PIDS"
	pidsShared   = "shared" // the server shares the PID namespace and /proc of launch
	killGrace    = StopGrace + 5*time.Second

	// File descriptors of the pipes in init.
	controlFD = 3 // closed when launch ends; receives one byte after the ids are mapped
	statusFD  = 4 // init writes the result of the mounts
)

func stage() string { return os.Getenv(stageVar) }

// IsolatedPIDs reports whether this process has a PID namespace and a /proc of its own.
func IsolatedPIDs() bool {
	return !sharedPIDs() && (stage() == stageRun && os.Getppid() == 1 || stage() == stageInit && os.Getpid() == 1)
}

// Ephemeral reports whether the state of this server is removed when the server ends.
func Ephemeral() bool { return os.Getenv(ephemeralVar) != "" }

// Context returns the directory from which this server reads the build context. "" means that clients
// send the context. A server for more than one build always returns "".
func Context() string {
	if !Ephemeral() {
		return ""
	}
	return os.Getenv(contextVar)
}

func inProcess() bool { return os.Getenv(inProcessVar) != "" }

func sharedPIDs() bool { return os.Getenv(pidsVar) == pidsShared }

// outerPID returns the process ID of the stage launch, which represents the server outside its
// namespaces.
func outerPID() int {
	if pid, err := strconv.Atoi(os.Getenv(launchPIDVar)); err == nil && (stage() == stageRun || stage() == stageInit) {
		return pid
	}
	return os.Getpid()
}

// Run runs the current stage of a builder: it starts the next stage, or calls serve. state is the
// directory of the cache.
func Run(ctx context.Context, state string, serve func(ctx context.Context) error) error {
	switch stage() {
	case stageMap:
		return awaitMap()
	case stageInit:
		return initProcess(ctx, state, serve)
	case stageRun:
		return serve(ctx)
	default:
		return launch(ctx, planIsolation(readMachine()))
	}
}

// selfCommand returns a command that runs this program with the same arguments, in another stage.
func selfCommand(stage string) *exec.Cmd {
	cmd := exec.Command(
		"/proc/self/exe",
		os.Args[1:]...) //nolint:gosec,noctx // this program itself; the stage before stops it
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	return cmd
}

// forward sends SIGTERM to a process when ctx ends, and SIGKILL if it has not ended after killGrace.
// The caller calls stop after the process has ended.
func forward(ctx context.Context, process started) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(killGrace):
			process.Signal(syscall.SIGKILL)
		}
	}()
	return func() { close(done) }
}

// exitWith converts an exit error to an error with the same exit code and no text, because the failed
// stage has already printed its error.
func exitWith(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return cli.Exit("", max(exit.ExitCode(), 1))
	}
	return err
}

// awaitMap waits until launch has mapped the ids, and then executes this program again. Only then does
// the kernel give root of the namespace its capabilities.
func awaitMap() error {
	if n, err := syscall.Read(controlFD, make([]byte, 1)); n != 1 {
		return fmt.Errorf("builder: user ids were not mapped: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := os.Setenv(stageVar, stageInit); err != nil {
		return fmt.Errorf("start builder again: %w", err)
	}
	return fmt.Errorf(
		"start builder again: %w",
		syscall.Exec("/proc/self/exe", os.Args, os.Environ()),
	) //nolint:gosec // this program itself
}

// initProcess runs the stage init. It is PID 1 of the namespaces unless the PIDs are shared.
func initProcess(ctx context.Context, state string, serve func(context.Context) error) error {
	if os.Getpid() != 1 && !sharedPIDs() {
		return fmt.Errorf("%s=%s is set, but this is not process 1 of a namespace", stageVar, stageInit)
	}
	syscall.CloseOnExec(controlFD)
	syscall.CloseOnExec(statusFD)
	go exitWithLaunch()
	env, err := prepareMounts(state)
	reportStatus(err)
	if err != nil {
		return cli.Exit("", 1)
	}
	if inProcess() {
		return serveInProcess(ctx, serve, env)
	}
	process := selfCommand(stageRun)
	process.Env = append(process.Env, env...)
	if sharedPIDs() {
		runtime.LockOSThread() // Pdeathsig is sent when this thread ends
		process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("adopt orphans: %w", err)
		}
	}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start builder: %w", err)
	}
	stop := forward(ctx, execProcess{process})
	defer stop()
	code, err := reapUntil(process.Process.Pid)
	if err != nil || code == 0 {
		return err
	}
	return cli.Exit("", code)
}

// serveInProcess runs the server in the process of the stage init.
func serveInProcess(ctx context.Context, serve func(context.Context) error, env []string) error {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("start builder: %w", err)
		}
	}
	return serve(ctx)
}

// exitWithLaunch exits when launch ends. The kernel then kills all processes in the namespaces.
func exitWithLaunch() {
	_, _ = io.Copy(io.Discard, os.NewFile(controlFD, "life"))
	os.Exit(1)
}

// mountProc is the beginning of the error for a masked /proc.
const mountProc = "mount /proc: "

// prepareMounts mounts a /proc and a directory for runc's state in the namespace. It returns the
// environment variables that the server needs for them.
func prepareMounts(state string) ([]string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if !sharedPIDs() {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return nil, fmt.Errorf(mountProc+"%w", err)
		}
	}
	if Privileged() {
		return nil, mountTmpfs("/run/runc")
	}
	// As root of a user namespace, runc uses XDG_RUNTIME_DIR, unless USER is root.
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

// reapUntil reaps all children, including adopted orphans, until the process pid ends. It returns the
// exit code, or 128 plus the signal.
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
