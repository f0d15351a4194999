package settings

import (
	"errors"

	"slipway/config"
)

const debugName = "PLUGIN_DEBUG"

// Log is how much of the step the log shows.
type Log struct {
	Quiet bool // the builder's lines only of a build that failed
	Debug bool // every setting, and where it came from
}

func (p *Plugin) readLog(raw config.PluginOutput, given map[string]string) error {
	var quietErr, debugErr error
	p.Log.Quiet, quietErr = trueFalse("PLUGIN_QUIET", raw.Quiet)
	debug, name := first(given, "false", debugName, "DOCKER_LAUNCH_DEBUG")
	p.Origins[debugName] = name
	p.Log.Debug, debugErr = trueFalse(name, debug)
	return errors.Join(quietErr, debugErr)
}
