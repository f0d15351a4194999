package builder

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

// A killed BuildKit leaves its containers running and their file systems mounted. So the
// server runs in a PID and a mount namespace of its own, which the kernel clears with
// the last process in them:
//
//	launch   what the caller started and signals; stays outside. A step is it for its own builder
//	init     PID 1 inside: mounts, starts the server, reaps orphans
//	serve    the server
//
// A step's own builder ends soon, and its orphans with it: there init is the server and reaps
// nothing, which is a program less to start.
//
// Each stage but a step is this program again with the same arguments. A pipe that launch holds open
// tells init when launch is gone, however it went; when init ends, the kernel kills all
// else in the namespaces. (PR_SET_PDEATHSIG would not do: the kernel forgets it when init
// gets its capabilities.)
//
// In a container whose /proc is masked there is no PID namespace, and init is an ordinary
// process: where it is not the server, it takes that with it. What the server has started ends with
// the container.
const (
	stageVar  = "SLIPWAY_BUILDER_STAGE"
	stageInit = "init"
	stageMap  = "map" // init, before its ids are mapped
	stageRun  = "serve"

	launchPIDVar = "SLIPWAY_BUILDER_LAUNCH_PID"
	briefVar     = "SLIPWAY_BUILDER_BRIEF"   // set: init is to be the server
	lostVar      = "SLIPWAY_BUILDER_LOST"    // set: the state goes with the builder
	contextVar   = "SLIPWAY_BUILDER_CONTEXT" // directory that the one build has its context of; the state goes with the builder
	pidsVar      = "SLIPWAY_BUILDER_PIDS"
	pidsShared   = "shared" // the server has the PID namespace and the /proc of its starter
	killGrace    = StopGrace + 5*time.Second

	// The pipes' ends in init.
	lifeFD  = 3 // ends with launch; one byte comes when the ids are mapped
	wordsFD = 4 // takes what became of the mounts
)

func stage() string { return os.Getenv(stageVar) }

// IsolatedPIDs reports whether this process has a PID namespace and a /proc of its own.
func IsolatedPIDs() bool {
	return !sharedPIDs() && (stage() == stageRun && os.Getppid() == 1 || stage() == stageInit && os.Getpid() == 1)
}

// Lost reports whether the state of this server goes with it.
func Lost() bool { return os.Getenv(lostVar) != "" }

// Context is the directory that this server's builds have their context of; empty = of their clients.
// A server that outlives one build has none.
func Context() string {
	if !Lost() {
		return ""
	}
	return os.Getenv(contextVar)
}

func brief() bool { return os.Getenv(briefVar) != "" }

func sharedPIDs() bool { return os.Getenv(pidsVar) == pidsShared }

// outerPID is the process that stands for this server outside its namespaces.
func outerPID() int {
	if pid, err := strconv.Atoi(os.Getenv(launchPIDVar)); err == nil && (stage() == stageRun || stage() == stageInit) {
		return pid
	}
	return os.Getpid()
}

// Run is a builder's program in each of its stages: it starts the next one, or serves. State is the
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

// again is this program with the same arguments, in another stage.
func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // this very program; its stage before asks it to stop
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	return cmd
}

// forward asks a process to stop when ctx ends, and kills it when it does not.
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

// initProcess is PID 1 of the namespaces, unless the PIDs are shared.
func initProcess(ctx context.Context, state string, serve func(context.Context) error) error {
	if os.Getpid() != 1 && !sharedPIDs() {
		return fmt.Errorf("%s=%s is set, but this is not process 1 of a namespace", stageVar, stageInit)
	}
	syscall.CloseOnExec(lifeFD)
	syscall.CloseOnExec(wordsFD)
	go dieWithLaunch()
	env, err := prepareMounts(state)
	if sayWords(err); err != nil {
		return cli.Exit("", 1)
	}
	if brief() {
		return serveHere(ctx, serve, env)
	}
	process := again(stageRun)
	process.Env = append(process.Env, env...)
	if sharedPIDs() {
		runtime.LockOSThread() // the kernel takes the end of this thread for that of the parent
		process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("adopt orphans: %w", err)
		}
	}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start builder: %w", err)
	}
	stop := forward(ctx, here{process})
	defer stop()
	code, err := reapUntil(process.Process.Pid)
	if err != nil || code == 0 {
		return err
	}
	return cli.Exit("", code)
}

// serveHere is the server in place of init.
func serveHere(ctx context.Context, serve func(context.Context) error, env []string) error {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("start builder: %w", err)
		}
	}
	return serve(ctx)
}

// dieWithLaunch ends this process, and all in its namespaces with it, when launch is gone.
func dieWithLaunch() {
	_, _ = io.Copy(io.Discard, os.NewFile(lifeFD, "life"))
	os.Exit(1)
}

// mountProc is how the error of a masked /proc begins.
const mountProc = "mount /proc: "

// prepareMounts gives the namespace its own /proc and its own place for runc's state,
// and returns the environment that goes with them.
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
