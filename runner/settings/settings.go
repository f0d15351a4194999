// Package settings reads the settings of a runner from its environment, in one of three modes. A
// gateway's engine sets SLIPWAY_RUNNER_URL and SLIPWAY_RUNNER_TOKEN, and the runner claims the rest of
// the work there (Read). In a pipeline of the user's own, the step either gets its build from a gateway
// (ReadPipelineRequest), or PLUGIN_* describe all of it (ReadPlugin).
//
// Each mode has one table (package table), whose rows declare its settings. A new setting is one row.
package settings

import (
	"strings"

	"slipway/config"
	"slipway/runner/settings/table"
)

// RunnerSettings describes the settings of a runner that a gateway's engine started.
func RunnerSettings() []config.Setting { return runnerTable().Settings() }

// PipelineRequestSettings describes the settings of a step in a pipeline of the user's own, under a gateway.
func PipelineRequestSettings() []config.Setting { return requestTable().Settings() }

// PluginSettings describes the settings of a step in a pipeline of the user's own, without a gateway.
func PluginSettings() []config.Setting { return stepTable().Settings() }

// IsStep reports whether a program that was started without arguments is the step of a pipeline. Some
// CIs start a plugin's program by its name alone.
func IsStep(environ []string) bool {
	given := variables(environ)
	return given[pluginURLName] != "" || given[repoName] != "" || given[gatewayName] != ""
}

// RunsWithoutGateway reports whether an environment requests the step without a gateway. Such an
// environment has settings of a step, and no gateway's address by any of its names.
func RunsWithoutGateway(environ []string) bool {
	given := variables(environ)
	if given[runnerURLName] != "" || isGiven(given, pluginURLName) || IsPipelineRequest(environ) {
		return false
	}
	for name, value := range given {
		if strings.HasPrefix(name, table.Prefix) && value != "" {
			return true
		}
	}
	return false
}

// IsPipelineRequest reports whether an environment requests the step of a pipeline of the user's own,
// under a gateway. An empty setting requests it too, because the CI may withhold the secret that is its
// value.
func IsPipelineRequest(environ []string) bool {
	given := variables(environ)
	return given[runnerURLName] == "" && !isGiven(given, pluginURLName) &&
		(isGiven(given, gatewayName) || isGiven(given, automatedBuildName))
}
