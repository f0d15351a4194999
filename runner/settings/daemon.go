package settings

import (
	"slices"
	"strings"

	"slipway/config"
)

// noteDaemon has one line of the log name the settings that were for a Docker daemon, but those
// that are false, which ask for nothing.
func (p *Plugin) noteDaemon(given map[string]string) {
	var names []string
	for _, s := range config.DaemonSettings() {
		if value := strings.ToLower(
			given[s.Name],
		); value != "" &&
			!slices.Contains([]string{"false", "0", "no", "off"}, value) {
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
