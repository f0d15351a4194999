package config

// PluginState configures the cache directory of the builder that a step starts.
type PluginState struct {
	State string `env:"PLUGIN_STATE" help:"directory on a volume that keeps the cache of the step's own builder for later steps, as an absolute path, or off; default: SLIPWAY_BUILDER_STATE, else /var/lib/slipway/builder where that is a volume"`
}
