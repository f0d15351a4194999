package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"slipway/runner/spec"
)

// DialTimeout bounds how long a builder may take to answer a step.
const DialTimeout = time.Minute

// A LocalBuilder configures a builder that a step starts for itself.
type LocalBuilder struct {
	Registries []spec.RegistryCredential // those with Insecure are read over plain HTTP
	Cache      LocalCache
	Environ    []string  // the step's environment
	Output     io.Writer // of the step's log
	Context    string    // directory that is built
	Program    string    // path of a program with the command builder; empty = this program
}

// StartLocal starts a builder for this step alone. stop ends the builder and waits for its end. The error
// has the fix for the CI at hand.
func StartLocal(ctx context.Context, o LocalBuilder) (address string, stop func(), err error) {
	cache, err := o.Cache.choose()
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
	child, err := o.start(ctx, dir, cache)
	if err != nil {
		remove()
		return "", nil, withHint(err, o.Environ)
	}
	// A log that cannot be written must not fail the build.
	_, _ = fmt.Fprintf(o.Output, "  %-11s starts here, %s\n", "builder", child.How)
	return child.Address, func() { child.Stop(); remove() }, nil
}

// PlanLocal returns how StartLocal would run a builder here, as far as can be known without starting one.
func PlanLocal(ctx context.Context, environ []string) (how string, err error) {
	how, err = WouldRun(ctx, environ)
	if err != nil {
		return "", withHint(err, environ)
	}
	return how, nil
}

// start starts the builder on the cache of earlier steps. If that cannot be used, it starts one with an
// empty cache: a cache is no reason to fail, nor to wait for another step.
func (o LocalBuilder) start(ctx context.Context, dir string, cache cacheChoice) (*Child, error) {
	options := ChildOptions{
		Program:            o.Program,
		Dir:                dir,
		Context:            o.Context,
		InsecureRegistries: insecureHosts(o.Registries),
		Environ:            o.Environ,
		Output:             o.Output,
	}
	if cache.dir == "" {
		o.log(cache.line)
		return StartChild(ctx, options)
	}
	output := &bufferedOutput{to: o.Output}
	onCache := options
	onCache.State = cache.dir
	onCache.Output = output
	child, err := StartChild(ctx, onCache)
	if err == nil {
		o.log(cache.line)
		output.release()
		return child, nil
	}
	var obstacle *Obstacle
	if ctx.Err() != nil || errors.As(err, &obstacle) { // no builder can run here, with any cache
		return nil, err
	}
	o.log(cache.unusable(err))
	return StartChild(ctx, options)
}

func (o LocalBuilder) log(line string) { _, _ = fmt.Fprintln(o.Output, "builder:", line) }

// insecureHosts returns the hosts of registries that speak plain HTTP.
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
