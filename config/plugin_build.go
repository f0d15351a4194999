package config

import "slipway/config/secret"

// PluginBuild holds the optional build settings of a step without a gateway. The names are those of
// Drone's plugins/docker and Woodpecker's docker-buildx.
type PluginBuild struct {
	Secret            string        `env:"PLUGIN_SECRET" help:"a secret for RUN --mount=type=secret, as id=npm,src=path or id=npm,env=NAME"`
	Secrets           string        `env:"PLUGIN_SECRETS" help:"several of them: a list"`
	SecretsFromEnv    string        `env:"PLUGIN_SECRETS_FROM_ENV" help:"secrets whose values are in the step's environment: id=NAME, a list"`
	SecretsFromFile   string        `env:"PLUGIN_SECRETS_FROM_FILE" help:"secrets whose values are in files: id=path, a list; the path is absolute, or from the workspace"`
	SSHAgentKey       secret.Secret `env:"PLUGIN_SSH_AGENT_KEY" help:"private key, without a passphrase, for RUN --mount=type=ssh and ADD git@…; removed from the environment after reading"`
	BuildArgsFromEnv  string        `env:"PLUGIN_BUILD_ARGS_FROM_ENV" help:"build arguments that take their values from variables of the same name: a list; they stand in the image's history, so name no secrets"`
	BuildArgsNew      string        `env:"PLUGIN_BUILD_ARGS_NEW" help:"build arguments NAME=value, joined by semicolons; needs multiple_build_args"`
	MultipleBuildArgs string        `env:"PLUGIN_MULTIPLE_BUILD_ARGS" envDefault:"false" help:"true: build_args_new is used, and build_args is not"`
	AddHost           string        `env:"PLUGIN_ADD_HOST" help:"names that RUN knows, as name:address, a list"`
	PullImage         string        `env:"PLUGIN_PULL_IMAGE" envDefault:"true" help:"true: ask the registry for the newest base image, whatever the builder has"`
	HTTPProxy         secret.Secret `env:"PLUGIN_HTTP_PROXY" help:"proxy for RUN; default: the step's HTTP_PROXY"`
	HTTPSProxy        secret.Secret `env:"PLUGIN_HTTPS_PROXY" help:"proxy for RUN; default: the step's HTTPS_PROXY"`
	NoProxy           secret.Secret `env:"PLUGIN_NO_PROXY" help:"hosts that RUN reaches without a proxy; default: the step's NO_PROXY"`

	Cache       string `env:"PLUGIN_CACHE" envDefault:"off" help:"where steps of earlier builds are found and kept: off, inline (in the image: its last stage), registry=REFERENCE (all stages, in a repository or tag of their own), local=DIRECTORY"`
	CacheFrom   string `env:"PLUGIN_CACHE_FROM" help:"caches to read, as docker build --cache-from takes them: a list, whose entries' own commas have a backslash before them"`
	CacheTo     string `env:"PLUGIN_CACHE_TO" help:"caches to write, as docker build --cache-to takes them"`
	CacheImages string `env:"PLUGIN_CACHE_IMAGES" help:"references that are read and written as caches of all stages: a list"`

	Label         string `env:"PLUGIN_LABEL" help:"labels NAME=value of the image: a list"`
	Labels        string `env:"PLUGIN_LABELS" help:"the same"`
	CustomLabels  string `env:"PLUGIN_CUSTOM_LABELS" help:"the same"`
	LabelSchema   string `env:"PLUGIN_LABEL_SCHEMA" help:"labels name=value whose names begin with org.opencontainers.image., which is left out: a list; not used when auto_label is false"`
	AutoLabel     string `env:"PLUGIN_AUTO_LABEL" envDefault:"true" help:"true: label and annotate the image with the facts that the CI gives: created, revision, source, url, and version of a tag"`
	DefaultLabels string `env:"PLUGIN_DEFAULT_LABELS" envDefault:"true" help:"the same; false in any of the three turns it off"`
	AutoLabels    string `env:"PLUGIN_AUTO_LABELS" envDefault:"true" help:"the same"`
	RepoLink      string `env:"PLUGIN_REPO_LINK" help:"the repository's page, for the label url; default: the CI's"`

	Platform    string `env:"PLUGIN_PLATFORM" help:"platform to build for, as linux/amd64; default: the builder's own"`
	Platforms   string `env:"PLUGIN_PLATFORMS" help:"several of them, which become one image of many: a list"`
	Compression string `env:"PLUGIN_COMPRESSION" envDefault:"gzip:1" help:"of layers: gzip, zstd (faster and smaller; needs an OCI registry and readers that know it) or none, and :LEVEL"`
	Provenance  string `env:"PLUGIN_PROVENANCE" envDefault:"false" help:"true or mode=min: attest how the image was built; mode=max: with build arguments and sources"`
	SBOM        string `env:"PLUGIN_SBOM" envDefault:"false" help:"true, or generator=IMAGE: attest what is in the image, as that image finds it (default: Docker's, from Docker Hub)"`
}
