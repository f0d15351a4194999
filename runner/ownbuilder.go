package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slipway/runner/sandbox"
	"slipway/runner/settings"
	"slipway/runner/spec"
)

// An ownBuilder is a builder that a step starts for itself.
type ownBuilder struct {
	Registries []spec.RegistryCredential // base images come from those that are insecure over plain HTTP
	State      settings.State            // where its cache is
	Origin     string                    // what named State.Dir
	Environ    []string                  // the step's
	Output     io.Writer                 // of its log
	Context    string                    // directory that is built
	Program    string                    // that has the command builder; empty = this one
}

func (r *standalone) ownBuilder() ownBuilder {
	return ownBuilder{
		Registries: r.s.Registries(),
		State:      r.s.State,
		Origin:     r.s.Origins["PLUGIN_STATE"],
		Environ:    r.o.Environ,
		Output:     r.log,
		Program:    r.o.BuilderProgram,
		Context:    r.request.Context,
	}
}

// startBuilder starts a builder for this step alone. Its error says what would mend it; stop
// ends the builder and waits for it.
func startBuilder(ctx context.Context, o ownBuilder) (address string, stop func(), err error) {
	kept, err := o.keptState()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return "", nil, fmt.Errorf(
			"make a directory for the builder: %w; set TMPDIR to one that can be written, as a volume",
			err,
		)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	child, err := o.start(ctx, dir, kept)
	if err != nil {
		remove()
		return "", nil, advise(err, o.Environ)
	}
	_, _ = fmt.Fprintf(
		o.Output,
		"  %-11s starts here, %s\n",
		"builder",
		child.How,
	) // a log that cannot be written must not fail the build
	return child.Address, func() { child.Stop(); remove() }, nil
}

// start starts the builder on the state that is kept, and, where that cannot be had, on one that
// goes with the step: a cache is no reason to fail, nor to wait for another step.
func (o ownBuilder) start(ctx context.Context, dir string, kept keptState) (*sandbox.Child, error) {
	options := sandbox.ChildOptions{
		Program:            o.Program,
		Dir:                dir,
		Context:            o.Context,
		InsecureRegistries: insecureHosts(o.Registries),
		Environ:            o.Environ,
		Output:             o.Output,
	}
	if kept.dir == "" {
		o.say(kept.line)
		return sandbox.StartChild(ctx, options)
	}
	held := &heldOutput{to: o.Output}
	onKept := options
	onKept.State, onKept.Output = kept.dir, held
	child, err := sandbox.StartChild(ctx, onKept)
	if err == nil {
		o.say(kept.line)
		held.release()
		return child, nil
	}
	var obstacle *sandbox.Obstacle
	if ctx.Err() != nil || errors.As(err, &obstacle) { // none can run here, on whatever state
		return nil, err
	}
	o.say(kept.without(err))
	return sandbox.StartChild(ctx, options)
}

func (o ownBuilder) say(line string) { _, _ = fmt.Fprintln(o.Output, "builder:", line) }

// insecureHosts are what base images are read from over plain HTTP.
func insecureHosts(registries []spec.RegistryCredential) []string {
	var hosts []string
	for _, r := range registries {
		if r.Insecure {
			host, _, _ := strings.Cut(r.Host, "/")
			hosts = append(hosts, host)
		}
	}
	return hosts
}
