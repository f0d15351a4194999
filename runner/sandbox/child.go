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
	"sync/atomic"

	"slipway/config/netpolicy"
	"slipway/config/process"
)

// ChildOptions configure StartChild. Dir is required.
type ChildOptions struct {
	Program string // path of a program with the command builder; empty = this program
	// Dir is the directory of the socket, and of the state if State is empty. It must be private to the
	// caller.
	Dir   string
	State string // directory of a persistent cache; empty = a directory below Dir, which is deleted with Dir
	// Context is the directory of the build context, which the builder reads itself. If it is empty, clients send
	// their contexts.
	Context            string
	InsecureRegistries []string  // hosts with plain HTTP
	Environ            []string  // the caller's environment; the child gets only the variables that a builder needs
	Output             io.Writer // receives the builder's warnings; nil = discard
}

// A Child is a `slipway builder` process for one caller. The kernel ends it with the caller, even if
// the caller crashes.
type Child struct {
	Address string // for example unix:///tmp/x/builder.sock
	Mode    string // mode for the log: privileged, rootless, …

	builder *process.Builder
	control controlPipe
	output  io.Writer
	stopped atomic.Bool // later messages of BuildKit are only about the stop
}

// StartChild starts a builder and waits until it accepts connections. If no builder can run here, it
// returns a *NotSupportedError at once. If another builder uses the state, the error wraps
// process.ErrStateLocked.
func StartChild(ctx context.Context, o ChildOptions) (*Child, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	if err := o.checkProgram(); err != nil {
		return nil, err
	}
	findings := append(Probe(ctx, childConfig(o.Environ)), probeFreeSpace(o.Dir))
	if err := checkFindings(findings, o.Output); err != nil {
		return nil, err
	}
	if err := o.checkState(); err != nil {
		return nil, err
	}
	c := &Child{Address: "unix://" + filepath.Join(o.Dir, "builder.sock"), output: o.Output}
	server, err := firstWorking(
		ctx,
		planIsolation(readMachine()),
		func() *exec.Cmd { return c.command(o) },
		c.start,
	)
	var unsupported *NotSupportedError
	switch {
	case errors.As(err, &unsupported):
		return nil, unsupported
	case err != nil:
		return nil, fmt.Errorf("start the builder: %w", err)
	}
	c.control = server.control
	c.Mode = server.candidate.String()
	if err := c.builder.WaitReady(ctx); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start the builder: %w", err)
	}
	return c, nil
}

// Stop sends SIGTERM and waits for the end of the child. It kills the child after KillGrace.
func (c *Child) Stop() {
	c.stopped.Store(true)
	c.builder.Stop(KillGrace)
	c.control.close()
}

// command returns the command of the builder in the stage init. This process acts as the stage
// launch.
func (c *Child) command(o ChildOptions) *exec.Cmd {
	program := cmp.Or(o.Program, "/proc/self/exe")
	cmd := exec.Command(program, o.args(c.Address)...) //nolint:gosec,noctx // ours; Stop ends it
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(BuilderEnviron(o.Environ), stageVar+"="+stageInit, inProcessVar+"=1",
		contextVar+"="+o.ownContext())
	if o.State == "" {
		cmd.Env = append(cmd.Env, ephemeralVar+"=1")
	}
	return cmd
}

// start starts the command. It is called once for each isolation that is tried.
func (c *Child) start(cmd *exec.Cmd) (started, error) {
	builder, err := process.StartBuilder(cmd, c.logWarning)
	c.builder = builder
	return builder, err
}

// logWarning writes a line above level info to the caller's output.
func (c *Child) logWarning(line string) {
	if !c.stopped.Load() && process.IsWarning(line) {
		_, _ = fmt.Fprintln(c.output, "builder:", line) // a lost log line does not fail the build
	}
}

// ownContext returns the directory that the builder reads the context from, or "" if the client sends
// the context. The client sends the context if a directory of the builder is inside it, because the
// builder mounts file systems there.
func (o ChildOptions) ownContext() string {
	if o.Context == "" {
		return ""
	}
	for _, dir := range []string{o.Dir, o.State} {
		if dir == "" {
			continue
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return ""
		}
		if inside, err := filepath.Rel(o.Context, real); err != nil || filepath.IsLocal(inside) {
			return ""
		}
	}
	return o.Context
}

// checkProgram checks that the builder's program exists. A user may have copied only one of the two
// programs out of the image.
func (o ChildOptions) checkProgram() error {
	if o.Program == "" {
		return nil
	}
	if _, err := os.Stat(o.Program); err != nil {
		name := filepath.Base(o.Program)
		return &NotSupportedError{
			Name:   "program",
			Detail: name + " is not in the directory of this program, which needs it to start builders",
			Fix:    "copy both programs out of the image",
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
	unlock, err := LockState(o.State, 0)
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// checkFindings returns a *NotSupportedError for the first finding that prevents a builder from
// running. A missing network is only a warning on output, because not every Dockerfile needs a
// network.
func checkFindings(findings []Finding, output io.Writer) error {
	for _, f := range findings {
		switch {
		case f.OK:
		case f.Name == findingNetwork:
			_, _ = fmt.Fprintf(output, "builder: %s: %s\n", f.Detail, f.Fix)
		default:
			return &NotSupportedError{Name: f.Name, Detail: f.Detail, Fix: f.Fix}
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

func (o ChildOptions) args(address string) []string {
	args := []string{
		"builder",
		"--address", address,
		"--state", cmp.Or(o.State, filepath.Join(o.Dir, "state")),
		"--network", childConfig(o.Environ).Network,
		"--limits=false", // the CI limits the step, and with it this builder
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

// BuilderEnviron returns the variables that every child needs, and the builder's settings in the
// environment of a program that starts builders.
func BuilderEnviron(environ []string) []string {
	return process.Environ(environ,
		"SLIPWAY_BUILDER_NETWORK", "SLIPWAY_BUILDER_CACHE", "SLIPWAY_BUILDER_FRONTENDS",
		"SLIPWAY_BUILDER_INSECURE_REGISTRIES", "SLIPWAY_BUILDER_MIRRORS", "SLIPWAY_BUILDER_CERTS",
		"SLIPWAY_BUILDER_DNS", "SLIPWAY_BUILDER_DNS_SEARCH", "SLIPWAY_BUILDER_RUNTIME",
		"SLIPWAY_BUILDER_PARALLEL", netpolicy.PrivateSetting, netpolicy.AllowedSetting)
}
