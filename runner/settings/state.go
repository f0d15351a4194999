package settings

import (
	"fmt"
	"path/filepath"
	"strings"
)

const stateName = "PLUGIN_STATE"

// State is where the step's own builder keeps its cache.
type State struct {
	Off bool   // nowhere, even if there is a volume for it
	Dir string // absolute; empty = on the volume for it, where there is one
}

// readState refuses a path that depends on where the step runs: in the workspace the cache would
// be part of the build's context, and gone with the pipeline.
func (p *Plugin) readState(given map[string]string) error {
	value, origin := first(given, "", stateName, "SLIPWAY_BUILDER_STATE")
	p.Origins[stateName] = origin
	switch {
	case value == "":
	case strings.EqualFold(value, "off"):
		p.State.Off = true
	case filepath.IsAbs(value) && filepath.Clean(value) != "/":
		p.State.Dir = filepath.Clean(value)
	default:
		return fmt.Errorf(
			"%s is %q: give the absolute path of a directory on a volume, as /var/lib/slipway/builder, or off",
			origin,
			value,
		)
	}
	return nil
}
