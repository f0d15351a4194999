package embedded

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"slipway/plugin/autobuild"
)

// maxOutput bounds what is kept of a child's own output; its build log goes over the
// runner protocol.
const maxOutput = 8 << 10

// A process is one running child.
type process struct {
	cmd    *exec.Cmd
	dir    string
	output *tail
	done   chan error // receives the child's end, once

	stopOnce sync.Once
	gone     chan struct{} // closed when the child ended
}

// launch starts the child with a clean environment. As root it gets a uid of its own and
// its own PID namespace, so that nothing it started outlives it.
func (e *Engine) launch(p autobuild.Pipeline, name, dir, builder string, uid int) (*process, error) {
	proc := &process{dir: dir, output: &tail{}, done: make(chan error, 1), gone: make(chan struct{})}
	cmd := exec.Command(e.o.Executable, "runner") //nolint:gosec,noctx // our own binary, no argument from outside; it outlives the call
	cmd.Dir = dir
	cmd.Env = e.environment(p, dir, builder)
	cmd.Stdout, cmd.Stderr = proc.output, proc.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	if e.Confined() {
		if err := os.Chown(dir, uid, e.o.FirstGID); err != nil {
			return nil, fmt.Errorf("hand %s to the runner: %w", dir, err)
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(e.o.FirstGID)} //nolint:gosec // small positive numbers
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	proc.cmd = cmd
	started := make(chan error, 1)
	go proc.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start runner of %s: %w", name, err)
	}
	return proc, nil
}

// run starts the child and waits for it on one locked thread: the parent-death signal
// follows the thread that forked, not the process.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	err := p.cmd.Wait()
	close(p.gone)
	p.done <- err
}

// stop asks the child to end, and kills its process group when it has not after grace.
// Calling it again changes nothing.
func (p *process) stop(grace time.Duration) {
	p.stopOnce.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that ended meanwhile is what we want
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			select {
			case <-p.gone:
			case <-ctx.Done():
				_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			}
		}()
	})
}

func (e *Engine) environment(p autobuild.Pipeline, dir, builder string) []string {
	hooks := "off"
	if p.Hooks && e.Confined() {
		hooks = "on"
	}
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8",
		"SLIPWAY_RUNNER_URL=" + p.URL,
		"SLIPWAY_RUNNER_TOKEN=" + p.Token.Reveal(),
		"SLIPWAY_BUILDER=" + builder,
		"SLIPWAY_RUNNER_HOOKS=" + hooks,
		"SLIPWAY_WORKDIR=" + dir,
	}
}

// A tail keeps the last maxOutput bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxOutput; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
