package config

// PluginOutput configures the log of a step and its outputs in addition to the push.
type PluginOutput struct {
	Quiet  string `env:"PLUGIN_QUIET" envDefault:"false" help:"true: the log shows the builder's own lines only of a build that failed"`
	Debug  string `env:"PLUGIN_DEBUG" envDefault:"false" help:"true: the log shows every setting that has a value, and its origin"`
	NoPush string `env:"PLUGIN_NO_PUSH" help:"the same as dry_run"`
	Output string `env:"PLUGIN_OUTPUT" help:"outputs, as docker buildx --output takes it: type=image with push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp; or type=oci, docker or tar with dest=path, a file that is written besides"`
}
