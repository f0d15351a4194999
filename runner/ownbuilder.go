package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"slipway/runner/builder"
	"slipway/runner/spec"
)

// startBuilder starts a builder for this step alone, with a cache that goes with it. Its error
// says what would mend it; stop ends the builder and waits for it.
func startBuilder(ctx context.Context, registries []spec.RegistryCredential, environ []string, output io.Writer) (address string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "slipway-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the builder: %w; set TMPDIR to one that can be written, as a volume", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	child, err := builder.StartChild(ctx, builder.ChildOptions{
		Dir: dir, InsecureRegistries: insecureHosts(registries), Environ: environ, Output: output,
	})
	if err != nil {
		remove()
		return "", nil, advise(err, environ)
	}
	_, _ = fmt.Fprintf(output, "  %-11s starts here, %s\n", "builder", child.How) // a log that cannot be written must not fail the build
	return child.Address, func() { child.Stop(); remove() }, nil
}

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
