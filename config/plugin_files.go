package config

// PluginFiles names the files that a step without a gateway writes for later steps. Relative paths
// start at the workspace. The step creates missing directories.
type PluginFiles struct {
	ArtifactFile string `env:"PLUGIN_ARTIFACT_FILE" help:"file for the pushed tags, as JSON in the form of plugins/docker (docker/v1)"`
	RegistryType string `env:"PLUGIN_REGISTRY_TYPE" envDefault:"Docker" help:"kind of registry that the artifact file names: Docker, ECR, GCR, ACR, …"`
	MetadataFile string `env:"PLUGIN_METADATA_FILE" help:"file for the image's digest and names, as JSON in the form of docker buildx --metadata-file"`
	DigestFile   string `env:"PLUGIN_DIGEST_FILE" help:"file for the image's digest alone: sha256:…"`
}
