package config

import "slipway/config/secret"

// Plugin is the configuration of a build step without a gateway, in a pipeline that the user wrote.
// The CI converts the step's settings to variables PLUGIN_*: it joins lists with commas, and sets no
// variable for a setting that is not given. Package runner/settings reads and validates it.
type Plugin struct {
	Repo string `env:"PLUGIN_REPO" help:"image to build, without a tag, as registry.example.com/acme/app, or several names of it: a list; builds the checked-out workspace without a gateway"`
	PluginLogin
	Tags
	Dockerfile string        `env:"PLUGIN_DOCKERFILE" envDefault:"Dockerfile" help:"path from the workspace"`
	Context    string        `env:"PLUGIN_CONTEXT" envDefault:"." help:"directory of the build context, from the workspace"`
	Target     string        `env:"PLUGIN_TARGET" help:"stage of the Dockerfile; default: the last"`
	BuildArgs  string        `env:"PLUGIN_BUILD_ARGS" help:"build arguments NAME=value: a comma list, a JSON list, or a JSON object of names and values"`
	Insecure   string        `env:"PLUGIN_INSECURE" envDefault:"false" help:"true: the registry (setting registry, else that of the first login, else of the first repo) uses plain HTTP; or the registries that do, a list"`
	DryRun     string        `env:"PLUGIN_DRY_RUN" envDefault:"false" help:"true: build and do not push"`
	NoCache    string        `env:"PLUGIN_NO_CACHE" envDefault:"false" help:"true: run every step of the Dockerfile again"`
	EnvFile    string        `env:"PLUGIN_ENV_FILE" help:"file of lines NAME=value that are read as if they were set for the step; from the workspace, or absolute"`
	Builder    string        `env:"PLUGIN_BUILDER" help:"address of a running builder, as tcp://host:9443, docker-container://NAME (by docker) or kube-pod://NAME (by kubectl); default: SLIPWAY_BUILDER, else one is started for this step"`
	BuilderTLS secret.Secret `env:"PLUGIN_BUILDER_TLS" help:"certificate of this client for a builder on another machine: PEM, or the absolute path of a file of slipway builder keys; default: SLIPWAY_BUILDER_TLS"`

	PluginBuild
	PluginStatus
	PluginFiles
	PluginState
	PluginOutput
	PluginBuilder
	PluginDaemon
	PluginCopy
	PluginSign
	PluginECR
}

// Join is the configuration of a build step in the user's own pipeline that gets its build from a
// gateway. Package runner/settings reads and validates it.
type Join struct {
	Gateway        string        `env:"PLUGIN_GATEWAY" help:"the gateway's URL, as https://slipway.example.com: it decides what is built, and receives the log and the status"`
	AutomatedBuild string        `env:"PLUGIN_AUTOMATED_BUILD" help:"id of the automated build, as its page shows it"`
	Token          secret.Secret `env:"PLUGIN_TOKEN" help:"the automated build's pipeline token, from a secret of the CI; removed from the environment after reading"`
	Builder        string        `env:"PLUGIN_BUILDER" help:"address of a running builder, as tcp://host:9443; default: SLIPWAY_BUILDER, else one is started for this step"`
	BuilderTLS     secret.Secret `env:"PLUGIN_BUILDER_TLS" help:"certificate of this client for a builder on another machine: PEM, or the absolute path of a file of slipway builder keys; default: SLIPWAY_BUILDER_TLS"`
	Hooks          string        `env:"PLUGIN_RUNNER_HOOKS" envDefault:"on" help:"on or off: whether build hooks (hooks/ beside the Dockerfile) may run here"`
	PluginLogin
	Insecure string `env:"PLUGIN_INSECURE" envDefault:"false" help:"true: the registry (setting registry, else that of the first login, else the image's) uses plain HTTP; or the registries that do, a list"`
}

// JoinSettings lists the settings of Join in the order of the struct.
func JoinSettings() []Setting { return describe[Join]() }

// PluginSettings lists the plugin's settings in the order of the struct.
func PluginSettings() []Setting { return describe[Plugin]() }
