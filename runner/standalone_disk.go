package runner

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/caarlos0/env/v11"
)

// noSpace is how the kernel says that a disk is full; no type comes through BuildKit.
const noSpace = "no space left on device"

// explainBuild adds what would mend a build that failed for other reasons than its Dockerfile.
func (r *standalone) explainBuild(err error) error {
	switch {
	case !strings.Contains(err.Error(), noSpace):
		return r.blameRead(err)
	case r.s.Builder != "":
		return fmt.Errorf(
			"%w; the disk of the builder at %s is full: free some of it there, or let it keep a smaller cache (`slipway builder --cache-size`)",
			err,
			r.s.Builder,
		)
	}
	return fmt.Errorf(
		"%w; the disk of the step's own builder is full: give it room below TMPDIR (%s) or on a volume of its own (setting state, PLUGIN_STATE), or name a builder elsewhere (setting builder, PLUGIN_BUILDER)",
		err,
		cmp.Or(env.ToMap(r.o.Environ)["TMPDIR"], "/tmp"),
	)
}
