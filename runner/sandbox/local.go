package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"slipway/config/grammar"
	"slipway/runner/spec"
)

// DialTimeout is the time that a builder gets to answer a step.
const DialTimeout = time.Minute

// A LocalBuilder configures a builder that a step starts for itself. All fields may be empty.
type LocalBuilder struct {
	Program    string                    // path of a program with the command builder; empty = this program
	Context    string                    // directory of the build context
	Cache      LocalCache                // place of the builder's cache
	Registries []spec.RegistryCredential // logins; insecure registries are read over plain HTTP
	Environ    []string                  // the step's environment; the builder gets only the variables that it needs
	Output     io.Writer                 // the step's log; nil = discard
}

// StartLocal starts a builder for this step alone and returns its address. stop ends the builder, waits
// for its end, and deletes its files. An error contains a fix for the step's CI.
func StartLocal(ctx context.Context, b LocalBuilder) (address string, stop func(), err error) {
	if b.Output == nil {
		b.Output = io.Discard
	}
	cache, err := b.Cache.resolve()
	if err != nil {
		return "", nil, err
	}
	dir, remove, err := MakeTempDir("")
	if err != nil {
		return "", nil, fmt.Errorf(
			"create a directory for the builder: %w: set TMPDIR to a writable directory, for example a volume",
			err,
		)
	}
	child, err := b.start(ctx, dir, cache)
	if err != nil {
		remove()
		return "", nil, withHint(err, b.Environ)
	}
	// A log that cannot be written must not fail the build.
	_, _ = fmt.Fprintf(b.Output, "  %-11s starts here, %s\n", "builder", child.Mode)
	return child.Address, func() { child.Stop(); remove() }, nil
}

// start starts the builder with the chosen cache. If that cache cannot be used, start uses an empty one.
// A step must not fail because of its cache, or wait for another step's cache.
func (b LocalBuilder) start(ctx context.Context, dir string, cache cacheChoice) (*Child, error) {
	options := ChildOptions{
		Program:            b.Program,
		Dir:                dir,
		Context:            b.Context,
		InsecureRegistries: insecureHosts(b.Registries),
		Environ:            b.Environ,
		Output:             b.Output,
	}
	if cache.dir == "" {
		b.log(cache.line)
		return StartChild(ctx, options)
	}
	held := &bufferedOutput{to: b.Output}
	withCache := options
	withCache.State = cache.dir
	withCache.Output = held
	child, err := StartChild(ctx, withCache)
	if err == nil {
		b.log(cache.line)
		held.release()
		return child, nil
	}
	var unsupported *NotSupportedError
	if ctx.Err() != nil || errors.As(err, &unsupported) { // an empty cache does not help
		return nil, err
	}
	b.log(cache.fallbackLine(err))
	return StartChild(ctx, options)
}

// log writes a line to the step's log. A log that cannot be written must not fail the build.
func (b LocalBuilder) log(line string) { _, _ = fmt.Fprintln(b.Output, "builder:", line) }

// PlanLocal returns the mode that StartLocal tries first. It starts no builder. If the rights of this
// process exclude every mode, it returns the same error as StartLocal.
func PlanLocal(ctx context.Context, environ []string) (mode string, err error) {
	findings := Probe(ctx, childConfig(environ))
	if err := checkFindings(findings, io.Discard); err != nil {
		return "", withHint(err, environ)
	}
	return findings[0].Detail, nil
}

// insecureHosts returns the registry hosts with plain HTTP.
func insecureHosts(registries []spec.RegistryCredential) []string {
	var hosts []string
	for _, r := range registries {
		if r.Insecure {
			hosts = append(hosts, grammar.ImageHost(r.Host))
		}
	}
	return hosts
}
