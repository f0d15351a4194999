package config

import "slipway/config/secret"

// PluginBuilder configures the builder that a step starts. A builder that already runs (setting
// builder) has its own configuration.
type PluginBuilder struct {
	Mirror          string `env:"PLUGIN_MIRROR" help:"mirrors of Docker Hub for base images, as https://mirror.example.com, a list; of the builder that the step starts"`
	CustomDNS       string `env:"PLUGIN_CUSTOM_DNS" help:"name servers of RUN, a list; of the builder that the step starts"`
	CustomDNSSearch string `env:"PLUGIN_CUSTOM_DNS_SEARCH" help:"search domains of RUN, a list; of the builder that the step starts"`

	RemoteBuilders string        `env:"PLUGIN_REMOTE_BUILDERS" help:"local is the step's own builder; others are refused: see builder"`
	SSHKey         secret.Secret `env:"PLUGIN_SSH_KEY" help:"does nothing: builders are not reached over ssh; taken out of the environment"`
}
