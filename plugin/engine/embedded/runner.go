package embedded

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"slipway/config/process"
	"slipway/plugin/autobuild"
)

// maxOutput bounds the stored output of a child, in bytes. The build log does not count: it is sent
// over the runner protocol.
const maxOutput = 8 << 10

// A runner is a running child.
type runner struct {
	*process.Process
	dir    string
	output *lastBytes
}

// launch starts the child with a clean environment. If the gateway is root, the child gets its own
// uid and PID namespace, so that its descendants die with it.
func (e *Engine) launch(p autobuild.Pipeline, name, dir, builder string, uid int) (*runner, error) {
	child := &runner{dir: dir, output: &lastBytes{}}
	//nolint:gosec,noctx // our own binary, no argument from outside; it outlives the call
	cmd := exec.Command(e.o.Executable, "runner")
	cmd.Dir = dir
	cmd.Env = e.environment(p, dir, builder)
	cmd.Stdout, cmd.Stderr = child.output, child.output
	cmd.WaitDelay = time.Second
	if e.Confined() {
		if err := os.Chown(dir, uid, e.o.FirstGID); err != nil {
			return nil, fmt.Errorf("hand %s to the runner: %w", dir, err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			//nolint:gosec // small positive numbers
			Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(e.o.FirstGID)},
			Cloneflags: syscall.CLONE_NEWPID,
		}
	}
	var err error
	child.Process, err = process.Start(cmd, process.Options{})
	if err != nil {
		return nil, fmt.Errorf("start runner of %s: %w", name, err)
	}
	return child, nil
}

func (e *Engine) environment(p autobuild.Pipeline, dir, builder string) []string {
	hooks := "off"
	if p.Hooks && e.Confined() {
		hooks = "unconfined"
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

// lastBytes keeps the last maxOutput bytes written to it. It is safe for concurrent use.
type lastBytes struct {
	mu  sync.Mutex
	buf []byte
}

func (t *lastBytes) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxOutput; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *lastBytes) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
