package config

import "slipway/config/secret"

// PluginSign configures the signature of the image that a step without a gateway pushes. The names
// are those of Drone's plugins/docker.
type PluginSign struct {
	CosignPrivateKey secret.Secret `env:"PLUGIN_COSIGN_PRIVATE_KEY" help:"private key of cosign generate-key-pair, or another in PEM, or the path of its file; the image is signed before any tag points at it, without an entry in a transparency log; removed from the environment after reading"`
	CosignPassword   secret.Secret `env:"PLUGIN_COSIGN_PASSWORD" help:"password of that key; removed from the environment after reading"`
	CosignParams     string        `env:"PLUGIN_COSIGN_PARAMS" help:"annotations of the signature, as -a build=7 -a team=web"`
}
