package settings

import "slipway/config"

// Files are what a step without a gateway leaves for programs; a path that is empty is not
// written. Relative paths are from the workspace.
type Files struct {
	Artifact, Metadata, Digest string
	RegistryType, RegistryURL  string // as the artifact names them
	Card                       string // where the CI wants a card: /dev/stdout, or a file
}

// dockerHub is how plugins/docker names it.
const dockerHub = "https://index.docker.io/v1/"

func (p *Plugin) readFiles(raw config.Plugin, given map[string]string) {
	p.Files = Files{
		Artifact:     raw.ArtifactFile,
		Metadata:     raw.MetadataFile,
		Digest:       raw.DigestFile,
		RegistryType: raw.RegistryType,
	}
	p.Files.RegistryURL, _ = first(given, hostOf(p.Image()), registryName, "DOCKER_REGISTRY")
	if p.Files.RegistryURL == hubHost {
		p.Files.RegistryURL = dockerHub
	}
	if len(p.ECR.Repositories) > 0 && p.ECR.On && p.Origins["PLUGIN_REGISTRY_TYPE"] == Default {
		p.Files.RegistryType = "ECR"
	}
	p.Files.Card, _ = first(given, "", "DRONE_CARD_PATH")
}
