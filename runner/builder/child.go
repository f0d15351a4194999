package builder

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

// The times of a Child.
const (
	childStarts = 30 * time.Second // from start until it is ready
	childStops  = killGrace        // from the request to stop until it is killed
)

// ChildOptions make a Child.
type ChildOptions struct {
	Program            string    // path of one with the command builder; empty = this one
	Dir                string    // of its socket, and of its state if that has no place of its own; must be private to the caller
	State              string    // directory of a cache that stays; empty = one below Dir
	Context            string    // directory that the caller will build; a builder without a State reads it itself; may be empty
	InsecureRegistries []string  // hosts that are read over plain HTTP
	Environ            []string  // the caller's; the child gets of it what a builder needs
	Output             io.Writer // for its warnings; nil = nowhere
}

// A Child is a `slipway builder` for its starter alone. It ends with its starter, however
// that ends.
type Child struct {
	Address string
	How     string // it runs, in words: privileged, rootless, …

	process *child.Child
	life    lifeline
	ready   chan struct{} // closed when it answers

	announced sync.Once
	quiet     atomic.Bool // it was asked to stop: what BuildKit complains of from then on is of no use
	last      string      // line of its output that is more than news; final when it has ended
}

// StartChild starts a program as a builder and waits until it answers. Where none can run
// its error is, at once, an *Obstacle; *LockedError where another builder has the state.
func StartChild(ctx context.Context, o ChildOptions) (*Child, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	if err := o.checkProgram(); err != nil {
		return nil, err
	}
	findings := append(Probe(ctx, childConfig(o.Environ)), probeRoom(o.Dir))
	if err := canRun(findings, o.Output); err != nil {
		return nil, err
	}
	if err := o.checkState(); err != nil {
		return nil, err
	}
	c := &Child{Address: "unix://" + filepath.Join(o.Dir, "builder.sock"), ready: make(chan struct{})}
	server, err := inOneWay(ctx, planIsolation(readMachine()), func() *exec.Cmd { return c.command(o) }, c.starter(o.Output))
	var obstacle *Obstacle
	switch {
	case errors.As(err, &obstacle):
		return nil, obstacle
	case err != nil:
		return nil, fmt.Errorf("start builder: %w", err)
	}
	c.life, c.How = server.life, server.way.String()
	if err := c.await(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start builder: %w", err)
	}
	return c, nil
}

// command is the builder's, in the stage after the one that this process is for it.
func (c *Child) command(o ChildOptions) *exec.Cmd {
	cmd := exec.Command(cmp.Or(o.Program, "/proc/self/exe"), c.args(o)...) //nolint:gosec,noctx // ours; Stop ends it
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(childEnv(o.Environ), stageVar+"="+stageInit, briefVar+"=1")
	if o.State == "" {
		cmd.Env = append(cmd.Env, lostVar+"=1", contextVar+"="+o.ownContext())
	}
	return cmd
}

// ownContext is the directory that the builder is to read itself. One that it works in looks
// otherwise to it, for it mounts there.
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

// starter starts it, and follows what it prints.
func (c *Child) starter(output io.Writer) starter {
	return func(cmd *exec.Cmd) (_ started, err error) {
		c.process, err = child.Start(cmd, child.Options{Line: func(line string) { c.follow(line, output) }})
		return followed{c.process}, err
	}
}

// followed is a child as inOneWay has it.
type followed struct{ *child.Child }

var _ started = followed{}

func (f followed) Wait() error { return f.Err() }

// checkProgram is for who takes one of the image's programs and leaves the other.
func (o ChildOptions) checkProgram() error {
	if o.Program == "" {
		return nil
	}
	if _, err := os.Stat(o.Program); err != nil {
		return &Obstacle{Name: "program", Detail: filepath.Base(o.Program) + " is not beside this program, which starts builders by it", Mend: "take both out of the image"}
	}
	return nil
}

// checkState finds out before a start whether another builder has a state that stays. One that
// comes in between is told by the child's end.
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

// WouldRun says in which way StartChild would run a builder here, as far as it shows without
// starting one, or with which *Obstacle it would fail.
func WouldRun(ctx context.Context, environ []string) (how string, err error) {
	findings := Probe(ctx, childConfig(environ))
	return findings[0].Detail, canRun(findings, io.Discard)
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
			return &Obstacle{Name: f.Name, Detail: f.Detail, Mend: f.Mend}
		}
	}
	return nil
}

// childConfig is as much of the child's settings as Probe looks at.
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
	args := []string{"builder", "--address", c.Address, "--state", cmp.Or(o.State, filepath.Join(o.Dir, "state")), "--network", childConfig(o.Environ).Network}
	for _, host := range o.InsecureRegistries {
		args = append(args, "--insecure-registry", host)
	}
	return args
}

// defaultNetwork is the network of a child whose settings name none.
func defaultNetwork(container bool) string {
	if container {
		return NetworkStep
	}
	return NetworkAuto
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
			"SLIPWAY_BUILDER_MIRRORS", "SLIPWAY_BUILDER_CERTS", "SLIPWAY_BUILDER_DNS", "SLIPWAY_BUILDER_DNS_SEARCH",
			"SLIPWAY_BUILDER_RUNTIME", "SLIPWAY_BUILDER_PARALLEL":
			env = append(env, v)
		}
	}
	return env
}

// follow passes on the lines that are more than news, and notes the one by which the child says
// that its socket answers.
func (c *Child) follow(line string, output io.Writer) {
	if strings.Contains(line, ReadyMessage) {
		c.announced.Do(func() { close(c.ready) })
	}
	if c.quiet.Load() || strings.Contains(line, "level=info") {
		return
	}
	c.last = line
	_, _ = fmt.Fprintln(output, "builder:", line) // a log that cannot be written must not fail the build
}

// await waits until the child is ready, ends, or took too long.
func (c *Child) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, childStarts, fmt.Errorf("no answer within %s", childStarts))
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

// failure says why an ended child ended, in its own last words.
func (c *Child) failure() error {
	if err := c.process.Err(); err != nil {
		return fmt.Errorf("%w: %s", err, c.last)
	}
	return errors.New("it stopped at once")
}

// Stop asks the child to end, waits for it, and kills it when it does not.
func (c *Child) Stop() {
	c.quiet.Store(true)
	c.process.Stop(childStops)
	c.life.close()
}
