package config

// PluginDaemon holds settings of Drone's plugins/docker and Woodpecker's docker-buildx for the Docker
// daemon that these plugins start in the step. Slipway starts no Docker daemon. It accepts the
// settings so that existing pipelines work, and logs one line with the names of those without effect.
type PluginDaemon struct {
	Bip              string `env:"PLUGIN_BIP" help:"does nothing: there is no Docker daemon"`
	BuildkitConfig   string `env:"PLUGIN_BUILDKIT_CONFIG" help:"does nothing: there is no buildkitd"`
	BuildkitDebug    string `env:"PLUGIN_BUILDKIT_DEBUG" help:"does nothing: there is no buildkitd"`
	BuildkitDriver   string `env:"PLUGIN_BUILDKIT_DRIVEROPT" help:"does nothing: there is no buildx driver"`
	Compress         string `env:"PLUGIN_COMPRESS" help:"does nothing: the context is not sent through Docker; of layers, see compression"`
	DaemonOff        string `env:"PLUGIN_DAEMON_OFF" help:"does nothing: there is no Docker daemon; a builder that runs already is setting builder"`
	DaemonRetryCount string `env:"PLUGIN_DAEMON_RETRY_COUNT" help:"does nothing: there is no Docker daemon"`
	Experimental     string `env:"PLUGIN_EXPERIMENTAL" help:"does nothing: there is no Docker daemon"`
	IPv6             string `env:"PLUGIN_IPV6" help:"does nothing: there is no Docker daemon"`
	MTU              string `env:"PLUGIN_MTU" help:"does nothing: there is no Docker daemon"`
	Purge            string `env:"PLUGIN_PURGE" help:"does nothing: the data of the step's own builder is removed with the step"`
	Squash           string `env:"PLUGIN_SQUASH" help:"does nothing: BuildKit makes a layer of each instruction; COPY --from of a stage makes few"`
	StorageDriver    string `env:"PLUGIN_STORAGE_DRIVER" help:"does nothing: there is no Docker daemon"`
	StoragePath      string `env:"PLUGIN_STORAGE_PATH" help:"does nothing: there is no Docker daemon"`
}

// DaemonSettings lists the settings of PluginDaemon in the order of the struct.
func DaemonSettings() []Setting { return describe[PluginDaemon]() }
