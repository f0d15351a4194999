package runner

import (
	"time"

	"github.com/cenkalti/backoff/v5"

	"slipway/runner/registry"
)

// newBackoff is what was given, or nil for each package's own.
func newBackoff(given func() backoff.BackOff) backoff.BackOff {
	if given == nil {
		return nil
	}
	return given()
}

// registryClient speaks to registries, and says in the log what it tries again.
func registryClient(version string, pause backoff.BackOff, log logger) *registry.Client {
	return registry.New(registry.Options{
		UserAgent: "slipway/" + version, Backoff: pause,
		Retrying: func(err error, attempt uint, wait time.Duration) {
			log.line("%s; attempt %d in %s", firstLine(err.Error()), attempt+1, wait.Round(100*time.Millisecond))
		},
	})
}

// again says why something is tried again, and when.
func (l logger) again(err error, wait time.Duration) {
	l.line("%s; again in %s", firstLine(err.Error()), wait.Round(100*time.Millisecond))
}
