package config

import "slipway/config/secret"

// PluginLogin holds the registry logins of a step without a gateway. The names are those of Drone's
// plugins/docker and Woodpecker's docker-buildx. Package runner/settings defines the other sources of
// a value (DOCKER_USERNAME, …) and the precedence of the logins.
type PluginLogin struct {
	Registry    string        `env:"PLUGIN_REGISTRY" help:"registry that username and password are for, or the beginning of images' names; default: the image's registry"`
	Username    string        `env:"PLUGIN_USERNAME" help:"user name at the registry; default: DOCKER_USERNAME, else anonymous"`
	Password    secret.Secret `env:"PLUGIN_PASSWORD" help:"password or token at the registry; default: DOCKER_PASSWORD; removed from the environment after reading"`
	Email       string        `env:"PLUGIN_EMAIL" help:"does nothing: registries do not ask for it"`
	AccessToken secret.Secret `env:"PLUGIN_ACCESS_TOKEN" help:"in place of username and password: OAuth 2 access token, as Google's registries take it; removed from the environment after reading"`
	Logins      secret.Secret `env:"PLUGIN_LOGINS" help:"logins at several registries: a JSON list of objects with registry, username and password; removed from the environment after reading"`
	Config      secret.Secret `env:"PLUGIN_CONFIG" help:"content of a config.json of Docker, whose auths are logins, too; default: DOCKER_PLUGIN_CONFIG; removed from the environment after reading"`

	BaseImageRegistry string        `env:"PLUGIN_BASE_IMAGE_REGISTRY" help:"registry of base images (FROM) that needs a login of its own"`
	BaseImageUsername string        `env:"PLUGIN_BASE_IMAGE_USERNAME" help:"user name there"`
	BaseImagePassword secret.Secret `env:"PLUGIN_BASE_IMAGE_PASSWORD" help:"password or token there; removed from the environment after reading"`
	DockerRegistry    string        `env:"PLUGIN_DOCKER_REGISTRY" help:"the same as base_image_registry"`
	DockerUsername    string        `env:"PLUGIN_DOCKER_USERNAME" help:"the same as base_image_username"`
	DockerPassword    secret.Secret `env:"PLUGIN_DOCKER_PASSWORD" help:"the same as base_image_password; removed from the environment after reading"`
}
