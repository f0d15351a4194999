package drone

import (
	"maps"
	"slices"
	"strings"

	"slipway/plugin/engine/pipeline"
)

// Environments returns the settings for Drone's programs. gateway is the URL at which they reach
// the gateway.
func (e *Engine) Environments(gateway string) []pipeline.Environment {
	return []pipeline.Environment{
		{Of: "the Drone server", Settings: e.ServerSettings(gateway)},
		{Of: "each Drone runner", Settings: e.RunnerSettings(gateway)},
	}
}

// ServerSettings returns the settings for the Drone server. gateway is the URL at which the server
// reaches the gateway.
func (e *Engine) ServerSettings(gateway string) []pipeline.Setting {
	return []pipeline.Setting{
		{
			Name:  "DRONE_YAML_ENDPOINT",
			Value: gateway + "/extensions/drone/config",
			Why: "requests the pipelines of the gateway's builds; other builds run their repository's " +
				".drone.yml as before",
		},
		{Name: "DRONE_YAML_SECRET", Secret: e.o.Secrets.Config, Why: "the key for the signatures of these requests"},
		{
			Name:  "DRONE_WEBHOOK_ENDPOINT",
			Value: gateway + "/extensions/drone/webhook",
			Why:   "optional: notifies the gateway at once instead of within 15 s",
		},
		{
			Name:   "DRONE_WEBHOOK_SECRET",
			Secret: e.o.Secrets.Webhook,
			Why:    "the key for the signatures of these requests",
		},
		{Name: "DRONE_WEBHOOK_EVENTS", Value: "build:*", Why: "only the events that the gateway uses"},
		{
			Name:  "DRONE_STATUS_DISABLED",
			Value: "true",
			Why: "optional, if Drone runs only our builds: the gateway posts the status of each build. " +
				"Without this setting, Drone adds a status of its own to each commit",
		},
		{
			Name:  "DRONE_INCOMING_WEBHOOK_EVENTS",
			Value: "pull_request",
			Why: "optional, where Drone runs nothing but our builds: when it activates a repository it " +
				"makes a webhook at Bitbucket, without this one for pushes too, and looks for a .drone.yml " +
				"at each",
		},
	}
}

// RunnerSettings returns the settings for each Drone runner. gateway is the URL at which the
// runners reach the gateway.
// https://docs.drone.io/runner/
func (e *Engine) RunnerSettings(gateway string) []pipeline.Setting {
	all := []pipeline.Setting{
		{
			Name:  "DRONE_SECRET_PLUGIN_ENDPOINT",
			Value: gateway + "/extensions/drone/secret",
			Why:   "requests the token of a build's runner from the gateway",
		},
		{
			Name:   "DRONE_SECRET_PLUGIN_TOKEN",
			Secret: e.o.Secrets.Secret,
			Why:    "the key for the signatures of these requests",
		},
	}
	if labels := e.o.Step.Labels; len(labels) > 0 {
		pairs := make([]string, 0, len(labels))
		for _, name := range slices.Sorted(maps.Keys(labels)) {
			pairs = append(pairs, name+":"+labels[name])
		}
		all = append(
			all,
			pipeline.Setting{
				Name:  "DRONE_RUNNER_LABELS",
				Value: strings.Join(pairs, ","),
				Why:   "our pipelines are for runners with these labels (SLIPWAY_DRONE_LABELS)",
			},
		)
	}
	return all
}
