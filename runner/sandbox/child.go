package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"slipway/config/child"
)

// Time limits of a Child.
const (
	childStartTimeout = 30 * time.Second // from the start until it is ready
	childStopTimeout  = killGrace        // from SIGTERM until SIGKILL
)

// ChildOptions configure StartChild.
type ChildOptions struct {
	Program string // path of a program with the command builder; empty = this program
	// Dir is the directory of the socket, and of the state if State is empty. It must be private to the
	// caller.
	Dir   string
	State string // directory of a cache that stays; empty = one below Dir
	// Context is the directory of the build context; may be empty. If State is empty, the builder
	// reads the context itself.
	Context            string
	InsecureRegistries []string  // hosts with plain HTTP
	Environ            []string  // the caller's environment; the child gets only the variables that a builder needs
	Output             io.Writer // receives the builder's warnings; nil = discard
}

// A Child is a `slipway builder` process for one caller. The kernel ends it with the caller, even if
// the caller crashes.
type Child struct {
	Address string // as unix:///tmp/x/builder.sock
	How     string // mode for the log: privileged, rootless, …

	process *child.Child
	life    controlPipe
	ready   chan struct{} // closed when the builder accepts connections

	announced sync.Once
	quiet     atomic.Bool // set by Stop: later messages of BuildKit are only about the stop
	last      string      // last line of output above level info; final when the process has ended
}

// StartChild starts a program as a builder and waits until it accepts connections. If no builder can
// run here, it returns an *Obstacle at once. If another builder uses the state, it returns a
// *LockedError.
func StartChild(ctx context.Context, o ChildOptions) (*Child, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	if err := o.checkProgram(); err != nil {
		return nil, err
	}
	findings := append(Probe(ctx, childConfig(o.Environ)), probeFreeSpace(o.Dir))
	if err := canRun(findings, o.Output); err != nil {
		return nil, err
	}
	if err := o.checkState(); err != nil {
		return nil, err
	}
	c := &Child{Address: "unix://" + filepath.Join(o.Dir, "builder.sock"), ready: make(chan struct{})}
	server, err := firstWorking(
		ctx,
		planIsolation(readMachine()),
		func() *exec.Cmd { return c.command(o) },
		c.starter(o.Output),
	)
	var obstacle *Obstacle
	switch {
	case errors.As(err, &obstacle):
		return nil, obstacle
	case err != nil:
		return nil, fmt.Errorf("start builder: %w", err)
	}
	c.life, c.How = server.life, server.candidate.String()
	if err := c.await(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start builder: %w", err)
	}
	return c, nil
}

// command returns the command of the builder in the stage init. This process acts as the stage
// launch.
func (c *Child) command(o ChildOptions) *exec.Cmd {
	cmd := exec.Command(cmp.Or(o.Program, "/proc/self/exe"), c.args(o)...) //nolint:gosec,noctx // ours; Stop ends it
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(childEnv(o.Environ), stageVar+"="+stageInit, inProcessVar+"=1")
	if o.State == "" {
		cmd.Env = append(cmd.Env, ephemeralVar+"=1", contextVar+"="+o.ownContext())
	}
	return cmd
}

// ownContext returns the directory that the builder reads the context from, or "" if the client sends
// the context. The latter is so if the builder's own directory is inside the context, because the
// builder mounts file systems there.
func (o ChildOptions) ownContext() string {
	dir, err := filepath.EvalSymlinks(o.Dir)
	if err != nil || o.Context == "" {
		return ""
	}
	if inside, err := filepath.Rel(o.Context, dir); err != nil || filepath.IsLocal(inside) {
		return ""
	}
	return o.Context
}

// starter returns a function that starts the builder and handles each line of its output.
func (c *Child) starter(output io.Writer) starter {
	return func(cmd *exec.Cmd) (_ started, err error) {
		c.process, err = child.Start(cmd, child.Options{Line: func(line string) { c.follow(line, output) }})
		return watchedProcess{c.process}, err
	}
}

// watchedProcess adapts a child.Child to the interface started.
type watchedProcess struct{ *child.Child }

var _ started = watchedProcess{}

func (f watchedProcess) Wait() error { return f.Err() }

// checkProgram checks that the builder's program exists. A user may have copied only one of the two
// programs out of the image.
func (o ChildOptions) checkProgram() error {
	if o.Program == "" {
		return nil
	}
	if _, err := os.Stat(o.Program); err != nil {
		return &Obstacle{
			Name:   "program",
			Detail: filepath.Base(o.Program) + " is not beside this program, which starts builders by it",
			Mend:   "take both out of the image",
		}
	}
	return nil
}

// checkState returns a *LockedError if another builder uses the state. If another builder locks the
// state after this check, the child ends with an error.
func (o ChildOptions) checkState() error {
	if o.State == "" {
		return nil
	}
	unlock, err := LockState(o.State)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// WouldRun predicts StartChild without starting a builder. It returns the mode in which a builder
// would run, or the *Obstacle.
func WouldRun(ctx context.Context, environ []string) (how string, err error) {
	findings := Probe(ctx, childConfig(environ))
	return findings[0].Detail, canRun(findings, io.Discard)
}

// canRun returns an *Obstacle for the first finding that prevents a builder from running. A missing
// network is only a warning on output, because not every Dockerfile needs a network.
func canRun(findings []Finding, output io.Writer) error {
	for _, f := range findings {
		switch {
		case f.OK:
		case f.Name == "network":
			_, _ = fmt.Fprintf(output, "builder: %s: %s\n", f.Detail, f.Mend)
		default:
			return &Obstacle{Name: f.Name, Detail: f.Detail, Mend: f.Mend}
		}
	}
	return nil
}

// childConfig returns the settings of the child that Probe uses.
func childConfig(environ []string) (o ProbeOptions) {
	o.Network = defaultNetwork(inContainer())
	for _, v := range environ {
		switch name, value, _ := strings.Cut(v, "="); name {
		case "SLIPWAY_BUILDER_RUNTIME":
			o.OCIRuntime = value
		case "SLIPWAY_BUILDER_NETWORK":
			o.Network = cmp.Or(value, o.Network)
		}
	}
	return o
}

func (c *Child) args(o ChildOptions) []string {
	args := []string{
		"builder",
		"--address", c.Address,
		"--state", cmp.Or(o.State, filepath.Join(o.Dir, "state")),
		"--network", childConfig(o.Environ).Network,
	}
	for _, host := range o.InsecureRegistries {
		args = append(args, "--insecure-registry", host)
	}
	return args
}

// defaultNetwork returns the network of a child if its settings name none. container reports whether
// this process runs in a container.
func defaultNetwork(container bool) string {
	if container {
		return NetworkStep
	}
	return NetworkAuto
}

// childEnv returns the variables that a builder needs: search paths, proxies, certificates, and the
// builder's settings that StartChild does not set itself. It drops all others, because the environment
// of a CI contains secrets.
func childEnv(environ []string) []string {
	var env []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToUpper(name) {
		case "PATH", "HOME", "USER", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
			"SLIPWAY_BUILDER_NETWORK", "SLIPWAY_BUILDER_CACHE", "SLIPWAY_BUILDER_FRONTENDS", "SLIPWAY_BUILDER_INSECURE_REGISTRIES",
			"SLIPWAY_BUILDER_MIRRORS", "SLIPWAY_BUILDER_CERTS", "SLIPWAY_BUILDER_DNS", "SLIPWAY_BUILDER_DNS_SEARCH",
			"SLIPWAY_BUILDER_RUNTIME", "SLIPWAY_BUILDER_PARALLEL":
			env = append(env, v)
		}
	}
	return env
}

// follow writes lines above level info to output. It closes c.ready when the child logs that it
// accepts connections.
func (c *Child) follow(line string, output io.Writer) {
	if strings.Contains(line, ReadyMessage) {
		c.announced.Do(func() { close(c.ready) })
	}
	if c.quiet.Load() || strings.Contains(line, "level=info") {
		return
	}
	c.last = line
	_, _ = fmt.Fprintln(output, "builder:", line) // a lost log line does not fail the build
}

// await waits until the child is ready. It returns an error if the child ends, or after
// childStartTimeout.
func (c *Child) await(ctx context.Context) error {
	timeout := fmt.Errorf("no answer within %s", childStartTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, childStartTimeout, timeout)
	defer cancel()
	select {
	case <-c.ready:
		return nil
	case <-c.process.Ended():
		return c.failure()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failure returns the error of an ended child, with the last warning of its output.
func (c *Child) failure() error {
	if err := c.process.Err(); err != nil {
		return fmt.Errorf("%w: %s", err, c.last)
	}
	return errors.New("it stopped at once")
}

// Stop sends SIGTERM and waits for the end of the child. It kills the child after killGrace.
func (c *Child) Stop() {
	c.quiet.Store(true)
	c.process.Stop(childStopTimeout)
	c.life.close()
}
