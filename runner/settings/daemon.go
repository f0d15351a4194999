package settings

import (
	"errors"
	"slices"
	"strings"

	"slipway/config"
	"slipway/config/secret"
)

// Rest are settings that belong to no group.
type Rest struct {
	Quiet bool // show the builder's lines only of a build that failed
	Debug bool // show every setting, and where it came from

	BuilderKey secret.Secret // for builders over ssh, which are not here: it is masked and used for nothing
}

func (p *Plugin) readRest(raw config.PluginRest, given map[string]string) error {
	p.noteDaemon(given)
	var errs [4]error
	p.Rest.Quiet, errs[0] = trueFalse("PLUGIN_QUIET", raw.Quiet)
	debug, name := first(given, "false", debugName, "DOCKER_LAUNCH_DEBUG")
	p.Origins[debugName] = name
	p.Rest.Debug, errs[1] = trueFalse(name, debug)
	errs[2] = p.readOwnBuilder(raw, given)
	errs[3] = p.readRemoteBuilders(raw)
	return errors.Join(errs[:]...)
}

const (
	debugName  = "PLUGIN_DEBUG"
	dryRunName = "PLUGIN_DRY_RUN"
)

// readNoPush reads the other name of dry_run.
func (p *Plugin) readNoPush(given map[string]string) (err error) {
	value, name, err := oneOf(given, "false", dryRunName, "PLUGIN_NO_PUSH")
	if err != nil {
		return err
	}
	p.Origins[dryRunName] = name
	if name != dryRunName { // which is read already
		p.DryRun, err = trueFalse(name, value)
	}
	return err
}

// noteDaemon has one line of the log name the settings that were for a Docker daemon, but those
// that are false, which ask for nothing.
func (p *Plugin) noteDaemon(given map[string]string) {
	var names []string
	for _, s := range config.DaemonSettings() {
		if value := strings.ToLower(given[s.Name]); value != "" && !slices.Contains([]string{"false", "0", "no", "off"}, value) {
			names = append(names, s.Name)
		}
	}
	switch {
	case len(names) == 1:
		p.warn("%s does nothing here: there is no Docker daemon (docs/migrate-step.md)", names[0])
	case len(names) > 1:
		p.warn("%s do nothing here: there is no Docker daemon (docs/migrate-step.md)", strings.Join(names, ", "))
	}
}
