package config

import "slipway/config/secret"

// Runner is the configuration of a build step that gets its work from a gateway. The engines set
// these variables, not the user. Package runner/settings reads and validates them.
type Runner struct {
	URL     string        `env:"SLIPWAY_RUNNER_URL" help:"where the gateway answers for this build: https://slipway.example.com/runner/v1/builds/{id}"`
	Token   secret.Secret `env:"SLIPWAY_RUNNER_TOKEN" help:"the attempt's token; removed from the environment after reading"`
	Builder string        `env:"SLIPWAY_BUILDER" help:"address of the builder, as unix:///run/slipway/builder.sock; default: one is started for this step"`
	TLS     secret.Secret `env:"SLIPWAY_BUILDER_TLS" help:"certificate of this client for a builder on another machine: PEM, or the absolute path of a file of slipway builder keys; default: what the gateway gives"`
	Hooks   string        `env:"SLIPWAY_RUNNER_HOOKS" envDefault:"on" help:"on or off: whether build hooks (hooks/ beside the Dockerfile) may run here"`
	Workdir string        `env:"SLIPWAY_WORKDIR" help:"directory for the source tree and the log; default: one is made below TMPDIR and removed at the end"`
}

// RunnerSettings lists the settings of Runner in the order of the struct.
func RunnerSettings() []Setting { return describe[Runner]() }
