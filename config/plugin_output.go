package config

import "slipway/config/secret"

// PluginRest are the settings of Drone's plugins/docker and Woodpecker's docker-buildx that
// belong to no group.
type PluginRest struct {
	NoPush  string `env:"PLUGIN_NO_PUSH" help:"the same as dry_run"`
	Quiet   string `env:"PLUGIN_QUIET" envDefault:"false" help:"true: the log shows the builder's own lines only of a build that failed"`
	Debug   string `env:"PLUGIN_DEBUG" envDefault:"false" help:"true: the log shows every setting that has a value, and where it came from"`
	EnvFile string `env:"PLUGIN_ENV_FILE" help:"file of lines NAME=value that are read as if they were set for the step; from the workspace, or absolute"`
	Output  string `env:"PLUGIN_OUTPUT" help:"what is made, as docker buildx --output takes it: type=image with push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp; or type=oci, docker or tar with dest=path, a file that is written besides"`

	Mirror          string `env:"PLUGIN_MIRROR" help:"mirrors of Docker Hub for base images, as https://mirror.example.com, a list; of the builder that the step starts"`
	CustomDNS       string `env:"PLUGIN_CUSTOM_DNS" help:"name servers of RUN, a list; of the builder that the step starts"`
	CustomDNSSearch string `env:"PLUGIN_CUSTOM_DNS_SEARCH" help:"search domains of RUN, a list; of the builder that the step starts"`

	RemoteBuilders string        `env:"PLUGIN_REMOTE_BUILDERS" help:"local is the step's own builder; others are refused: see builder"`
	SSHKey         secret.Secret `env:"PLUGIN_SSH_KEY" help:"does nothing: builders are not reached over ssh; taken out of the environment"`
}
