package builder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"slipway/config/identity"
)

// The times of a Child.
const (
	childStarts   = 30 * time.Second // from start to first answer
	childStops    = killGrace        // from the request to stop until it is killed
	childInterval = 50 * time.Millisecond
)

// maxChildLine bounds what is kept of one line of a child's output, in bytes.
const maxChildLine = 16 << 10

// ChildOptions make a Child.
type ChildOptions struct {
	Dir                string    // of its state and socket; must be private to the caller
	InsecureRegistries []string  // hosts that are read over plain HTTP
	Environ            []string  // the caller's; the child gets of it what a builder needs
	Output             io.Writer // for its warnings; nil = nowhere
}

// A Child is a `slipway builder` for its starter alone. It ends with its starter, however
// that ends.
type Child struct {
	Address string

	cmd   *exec.Cmd
	quiet atomic.Bool   // it was asked to stop: what BuildKit complains of from then on is of no use
	ended chan struct{} // closed when it has ended; err and last are final then
	err   error
	last  string // line of its output
}

// StartChild starts this program as a builder and waits until it answers. The error of a
// machine on which none can run says, at once, what to mend.
func StartChild(ctx context.Context, o ChildOptions) (*Child, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	if err := canRun(Probe(ctx, childConfig(o.Environ)), o.Output); err != nil {
		return nil, err
	}
	c := &Child{Address: "unix://" + filepath.Join(o.Dir, "builder.sock"), ended: make(chan struct{})}
	c.cmd = exec.Command("/proc/self/exe", c.args(o)...) //nolint:gosec,noctx // this very program; Stop ends it
	c.cmd.Args[0] = os.Args[0]
	c.cmd.Env = childEnv(o.Environ)
	// A group of its own: Ctrl-C is for the starter, which then stops it in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go c.run(o.Output, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start builder: %w", err)
	}
	if err := c.await(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start builder: %w", err)
	}
	return c, nil
}

// canRun makes an error of what Probe found when no builder can run. A network that is
// lacking is only said: not every Dockerfile needs one.
func canRun(findings []Finding, output io.Writer) error {
	for _, f := range findings {
		switch {
		case f.OK:
		case f.Name == "network":
			_, _ = fmt.Fprintf(output, "builder: %s: %s\n", f.Detail, f.Mend)
		default:
			return fmt.Errorf("no builder can run here: %s: %s", f.Detail, f.Mend)
		}
	}
	return nil
}

// childConfig is as much of the child's settings as Probe looks at.
func childConfig(environ []string) (c Config) {
	for _, v := range environ {
		switch name, value, _ := strings.Cut(v, "="); name {
		case "SLIPWAY_BUILDER_RUNTIME":
			c.OCIRuntime = value
		case "SLIPWAY_BUILDER_NETWORK":
			c.Network = value
		}
	}
	return c
}

func (c *Child) args(o ChildOptions) []string {
	args := []string{"builder", "--address", c.Address, "--state", filepath.Join(o.Dir, "state")}
	for _, host := range o.InsecureRegistries {
		args = append(args, "--insecure-registry", host)
	}
	return args
}

// childEnv is what a builder needs: where programs are, how registries are reached, and its
// own settings but those that the starter decides. A CI's environment holds secrets.
func childEnv(environ []string) []string {
	var env []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToUpper(name) {
		case "PATH", "HOME", "USER", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
			"SLIPWAY_BUILDER_NETWORK", "SLIPWAY_BUILDER_CACHE", "SLIPWAY_BUILDER_FRONTENDS", "SLIPWAY_BUILDER_INSECURE_REGISTRIES",
			"SLIPWAY_BUILDER_RUNTIME", "SLIPWAY_BUILDER_PARALLEL":
			env = append(env, v)
		}
	}
	return env
}

// run owns the process from start to end, on one thread: the kernel takes the end of the
// thread that started a child for the end of its parent.
func (c *Child) run(output io.Writer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, in, err := os.Pipe()
	if err != nil {
		started <- err
		return
	}
	defer func() { _ = out.Close() }()
	c.cmd.Stdout, c.cmd.Stderr = in, in
	err = c.cmd.Start()
	_ = in.Close()
	started <- err
	if err != nil {
		return
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		c.follow(out, output)
	}()
	c.err = c.cmd.Wait()
	<-copied
	close(c.ended)
}

// follow passes on the lines that are more than news.
func (c *Child) follow(out io.Reader, output io.Writer) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxChildLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || c.quiet.Load() || strings.Contains(line, "level=info") {
			continue
		}
		c.last = line
		_, _ = fmt.Fprintln(output, "builder:", line) // a log that cannot be written must not fail the build
	}
	_, _ = io.Copy(io.Discard, out) // after a line too long: the builder must not block
}

// await asks until the child answers, ends, or took too long.
func (c *Child) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, childStarts, fmt.Errorf("no answer within %s", childStarts))
	defer cancel()
	tick := time.NewTicker(childInterval)
	defer tick.Stop()
	for {
		if client, err := Dial(ctx, c.Address, identity.Identity{}); err == nil {
			return client.Close()
		}
		select {
		case <-c.ended:
			return c.failure()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// failure says why an ended child ended, in its own last words.
func (c *Child) failure() error {
	if c.err == nil {
		return errors.New("it stopped at once")
	}
	return fmt.Errorf("%w: %s", c.err, c.last)
}

// Stop asks the child to end, waits for it, and kills it when it does not.
func (c *Child) Stop() {
	c.quiet.Store(true)
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
		return
	case <-time.After(childStops):
	}
	_ = c.cmd.Process.Kill()
	<-c.ended
}
