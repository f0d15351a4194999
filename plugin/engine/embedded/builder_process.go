package embedded

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// maxBuilderLine bounds what is kept of one line of the builder's output, in bytes.
const maxBuilderLine = 16 << 10

// A builderProcess is one run of `slipway builder`.
type builderProcess struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended; err and last are final then
	err   error

	mu   sync.Mutex
	last string // line of its output
}

// startBuilder starts the process. It dies with the gateway, however that ends, so that
// the next gateway finds the state free.
func startBuilder(executable string, args []string, log logrus.FieldLogger) (*builderProcess, error) {
	cmd := exec.Command(executable, args...) //nolint:gosec,noctx // our own binary, which outlives the call
	cmd.Env = builderEnv(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	p := &builderProcess{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go p.run(out, in, log, started)
	return p, <-started
}

// run owns the process from start to end, on one thread: the kernel takes the end of the
// thread that started a child for the end of its parent.
func (p *builderProcess) run(out, in *os.File, log logrus.FieldLogger, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { _ = out.Close() }()
	err := p.cmd.Start()
	_ = in.Close()
	started <- err
	if err != nil {
		return
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		p.follow(out, log)
	}()
	p.err = p.cmd.Wait()
	<-copied
	if p.err != nil {
		log.WithError(p.err).Warn("the builder ended")
	}
	close(p.ended)
}

// follow passes the builder's lines on to the gateway's log.
func (p *builderProcess) follow(out io.Reader, log logrus.FieldLogger) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxBuilderLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		p.mu.Lock()
		p.last = line
		p.mu.Unlock()
		log.WithField("from", "builder").Info(line)
	}
	_, _ = io.Copy(io.Discard, out) // after a line too long: the builder must not block
}

func (p *builderProcess) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop asks the process to end and kills it when it does not.
func (p *builderProcess) stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return
	case <-time.After(grace):
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// failure says why an ended process ended, in its own last words.
func (p *builderProcess) failure() error {
	if p.err == nil {
		return errors.New("it stopped at once")
	}
	return fmt.Errorf("%w: %s", p.err, p.lastLine())
}

func (p *builderProcess) lastLine() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// foundStateInUse reports whether it ended because another process has the state.
func (p *builderProcess) foundStateInUse() bool {
	return !p.running() && strings.Contains(p.lastLine(), "is in use by")
}
