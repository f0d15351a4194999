package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"
)

// runInit runs the stage init. It is PID 1 of the namespaces unless the PIDs are shared.
func (s stage) runInit(ctx context.Context, o RunOptions, inherited Inheritance, serve Serve) error {
	if os.Getpid() != 1 && !s.sharedPIDs {
		return fmt.Errorf("%s=%s is set, but this is not process 1 of a namespace", stageVar, stageInit)
	}
	syscall.CloseOnExec(controlFD)
	syscall.CloseOnExec(statusFD)
	go exitWithLaunch()
	env, err := s.prepareMounts(o)
	reportStatus(err)
	if err != nil {
		return cli.Exit("", 1)
	}
	if s.inProcess {
		if err := setEnv(env); err != nil {
			return err
		}
		return serve(ctx, s.environment())
	}
	return s.runServer(ctx, env, inherited)
}

// runServer starts the stage serve with more environment variables, reaps orphans until the server
// ends, and returns an error with the server's exit code. The server gets the inherited files.
func (s stage) runServer(ctx context.Context, env []string, inherited Inheritance) error {
	process := selfCommand(stageRun)
	inherited.Pass(process)
	process.Env = append(process.Env, env...)
	if s.sharedPIDs {
		runtime.LockOSThread() // Pdeathsig is sent when this thread ends
		process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("adopt orphans: %w", err)
		}
	}
	if err := process.Start(); err != nil {
		return fmt.Errorf("start the builder: %w", err)
	}
	stop := forward(ctx, execProcess{process})
	defer stop()
	code, err := reapUntil(process.Process.Pid)
	if err != nil || code == 0 {
		return err
	}
	return cli.Exit("", code)
}

func setEnv(env []string) error {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("start the builder: %w", err)
		}
	}
	return nil
}

// exitWithLaunch exits when launch ends. The kernel then kills all processes in the namespaces.
func exitWithLaunch() {
	_, _ = io.Copy(io.Discard, os.NewFile(controlFD, "control"))
	os.Exit(1)
}

// mountProc is the beginning of the error for a masked /proc.
const mountProc = "mount /proc: "

// prepareMounts mounts a /proc and a directory for runc's state in the namespace. It returns the
// environment variables that the server needs for them.
func (s stage) prepareMounts(o RunOptions) ([]string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if !s.sharedPIDs {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return nil, fmt.Errorf(mountProc+"%w", err)
		}
	}
	for _, dir := range o.ReadOnly {
		if err := mountReadOnly(dir); err != nil {
			return nil, err
		}
	}
	var env []string
	runtimeDir := "/run/runc"
	if !Privileged() {
		// As root of a user namespace, runc uses XDG_RUNTIME_DIR, unless USER is root.
		runtimeDir = filepath.Join(o.State, "run")
		env = []string{"XDG_RUNTIME_DIR=" + runtimeDir, "USER=slipway", "HOME=" + o.State}
	}
	if err := mountTmpfs(runtimeDir); err != nil {
		return nil, err
	}
	return env, s.network.mountFiles(runtimeDir)
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

// mountReadOnly makes a directory read-only in this mount namespace.
func mountReadOnly(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	// In a user namespace the kernel refuses to drop the flags that the mount has already.
	const kept = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME
	flags := uintptr(fs.Flags) & kept //nolint:gosec // a bit mask
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", dir, err)
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
			return 0, fmt.Errorf("wait for the builder: %w", err)
		case ended != pid:
			continue
		case status.Exited():
			return status.ExitStatus(), nil
		default:
			return 128 + int(status.Signal()), nil
		}
	}
}
