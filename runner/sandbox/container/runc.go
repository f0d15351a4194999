package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"slipway/config/process"
	"slipway/config/text"
	"slipway/runner/sandbox/guest"
)

// A runc describes calls of runc for one container.
type runc struct {
	program   string
	bundle    string
	name      string
	processes int // limit of the user namespace; 0 = none
}

// command returns a command of runc. Its state is in the bundle, so that no other program finds it.
func (r runc) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--root", filepath.Join(r.bundle, "state")}, args...)
	cmd := exec.CommandContext(ctx, r.program, args...) //nolint:gosec // G204: the runtime that the administrator chose
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + r.bundle}
	return cmd
}

// A runcProcess is `runc run`, and the container that it started.
type runcProcess struct {
	runc
	process *process.Process
	socket  *os.File        // a copy of the client's socket
	last    *text.LastLines // last lines of the output of runc and process 1
}

// exitTimeout is the time that a container gets to end before it is killed by the next method.
const exitTimeout = time.Second

// maxOutput and maxLine bound the output of runc that an error contains, in bytes.
const (
	maxOutput = 2 << 10
	maxLine   = 1 << 10
)

// start starts the container and waits until process 1 is ready. If it returns a process, the caller must
// kill and remove it, also if there is an error.
func (r runc) start(ctx context.Context, spec *specs.Spec) (*guest.Client, *runcProcess, error) {
	config, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(r.bundle, "config.json"), config, 0o600); err != nil {
		return nil, nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	socket, err := duplicate(ours)
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	client, err := guest.NewClient(ours)
	if err != nil {
		socket.Close()
		return nil, nil, err
	}
	p := &runcProcess{runc: r, socket: socket, last: &text.LastLines{Limit: maxOutput}}
	cmd := r.runCommand()
	cmd.ExtraFiles = []*os.File{theirs}
	p.process, err = process.Start(
		cmd,
		process.Options{Line: func(line string) { fmt.Fprintln(p.last, text.OneLine(line, maxLine)) }},
	)
	if err != nil {
		_ = client.Close() // nothing was sent
		socket.Close()
		return nil, nil, fmt.Errorf("start runc: %w", err)
	}
	theirs.Close() // so that the client sees the end of the container
	if err := p.waitReady(ctx, client); err != nil {
		return client, p, err
	}
	return client, p, nil
}

// runCommand returns the command that runs the container. --keep keeps its cgroup, and so its counters,
// after the end. The command has no context, because kill ends it.
func (r runc) runCommand() *exec.Cmd {
	cmd := r.command(context.Background(),
		"run", "--keep", "--preserve-fds", "1", "--bundle", r.bundle, r.name)
	if r.processes > 0 {
		// The kernel makes the limit of the process that starts runc the limit of the new user namespace.
		limit := fmt.Sprintf("--nproc=%d:%d", r.processes, r.processes)
		args := append([]string{limit, r.program}, cmd.Args[1:]...)
		limited := exec.Command("prlimit", args...) //nolint:gosec,noctx // as above
		limited.Env = cmd.Env
		return limited
	}
	return cmd
}

func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return os.NewFile(uintptr(pair[0]), "client"), os.NewFile(uintptr(pair[1]), "process 1"), nil
}

func duplicate(file *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("copy a socket: %w", err)
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// output returns the last lines of output in one line.
func (p *runcProcess) output() string { return text.OneLine(string(p.last.Bytes()), 0) }

// waitReady waits for the greeting of process 1.
func (p *runcProcess) waitReady(ctx context.Context, client *guest.Client) error {
	err := client.WaitReady(ctx)
	if errors.Is(err, guest.ErrEnded) {
		<-p.process.Ended() // the rest of its output
		return fmt.Errorf("runc: %s", p.output())
	}
	return err
}

func (p *runcProcess) ended() <-chan struct{} { return p.process.Ended() }

// kill ends process 1 and waits for its end. With it, the kernel kills all processes of the sandbox.
func (p *runcProcess) kill(ctx context.Context) error {
	// Process 1 exits at the end of the stream. This is the fastest way, even if another process has a
	// copy of the socket.
	_ = unix.Shutdown(int(p.socket.Fd()), unix.SHUT_RDWR) // an error means that it has ended
	defer p.socket.Close()
	if p.waitEnd(ctx, exitTimeout) {
		return nil
	}
	_ = p.command(ctx, "kill", p.name, "KILL").Run() // an error means that the container does not exist yet
	if p.waitEnd(ctx, exitTimeout) {
		return nil
	}
	p.process.Signal(unix.SIGKILL)
	select {
	case <-p.process.Ended():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the processes of the sandbox did not end: %w", context.Cause(ctx))
	}
}

// waitEnd reports whether the container ended in time.
func (p *runcProcess) waitEnd(ctx context.Context, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.process.Ended():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// remove removes the container's cgroup and state.
func (p *runcProcess) remove(ctx context.Context) error {
	out, err := p.command(ctx, "delete", "--force", p.name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("runc delete: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
