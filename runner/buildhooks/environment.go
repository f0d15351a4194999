package buildhooks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"slipway/config/secret"
	"slipway/runner/spec"
)

// A Base holds the values that hooks get from the machine they run on.
type Base struct {
	Path         string       // PATH
	Home         string       // HOME: a temporary directory
	Temp         string       // TMPDIR: a temporary directory; empty = none
	DockerConfig DockerConfig // credentials for the hooks that push; zero = none
	Trust        []string     // variables that name trusted certificates, for example "SSL_CERT_FILE=/path"
}

// A DockerConfig is a Docker client's configuration with credentials of registries. The zero value
// is none.
type DockerConfig struct {
	Dir     string        // DOCKER_CONFIG: it holds config.json
	Content secret.Secret // DOCKERCFG: the text of config.json, as Docker Hub's builders have it
}

// Environment returns the complete environment of a hook: Docker Hub's eight variables, the automated
// build's own environment, and PATH, HOME, TMPDIR and LANG. It contains nothing of the runner's environment.
func Environment(s spec.Spec, b Base) ([]string, error) {
	env := []string{"PATH=" + b.Path, "HOME=" + b.Home, "LANG=C.UTF-8"}
	if b.Temp != "" {
		env = append(env, "TMPDIR="+b.Temp)
	}
	if dir := b.DockerConfig.Dir; dir != "" {
		env = append(env,
			"DOCKER_CONFIG="+dir,
			"DOCKERCFG="+b.DockerConfig.Content.Reveal(),
			"REGISTRY_AUTH_FILE="+filepath.Join(dir, configFile), // skopeo, podman and buildah read it
		)
	}
	env = append(env, b.Trust...)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := s.Environment[name].Reveal()
		if err := spec.CheckVariable(name, value); err != nil {
			return nil, fmt.Errorf("set the environment of the hook: %w", err)
		}
		env = append(env, name+"="+value)
	}
	return append(env, variables(s)...), nil
}

// variables returns Docker Hub's eight variables.
// Source: https://docs.docker.com/docker-hub/repos/manage/builds/advanced/#environment-variables-for-building-and-testing
func variables(s spec.Spec) []string {
	cacheTag := ""
	if s.Caching && len(s.Tags) > 0 {
		cacheTag = s.Tags[0]
	}
	return []string{
		"SOURCE_BRANCH=" + s.Source.RefName,
		"SOURCE_COMMIT=" + s.Source.Commit,
		"COMMIT_MSG=" + strings.ReplaceAll(s.Source.Message, "\x00", ""),
		"DOCKER_REPO=" + s.Image,
		"DOCKERFILE_PATH=" + filepath.Base(s.Dockerfile), // relative to the folder in which hooks run
		"DOCKER_TAG=" + strings.Join(s.Tags, ","),
		"CACHE_TAG=" + cacheTag,
		"IMAGE_NAME=" + ImageName(s),
	}
}

// ImageName returns IMAGE_NAME: the image with its first tag. A build that publishes nothing has no
// tag; the first twelve digits of the commit replace it.
func ImageName(s spec.Spec) string {
	if len(s.Tags) > 0 {
		return s.Image + ":" + s.Tags[0]
	}
	return s.Image + ":" + s.Source.Commit[:min(12, len(s.Source.Commit))]
}

// configFile is the file of a Docker configuration.
const configFile = "config.json"

// WriteDockerConfig writes the registries' credentials into dir as Docker's config.json. Only this user
// may read the file.
// Source: https://docs.docker.com/reference/cli/docker/login/#credential-stores
func WriteDockerConfig(dir string, credentials []spec.RegistryCredential) (DockerConfig, error) {
	type auth struct {
		Auth string `json:"auth"`
	}
	auths := map[string]auth{}
	for _, c := range credentials {
		pair := c.Username + ":" + c.Password.Reveal()
		auths[dockerHost(c.Host)] = auth{Auth: base64.StdEncoding.EncodeToString([]byte(pair))}
	}
	content, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return DockerConfig{}, fmt.Errorf("write registry credentials for build hooks: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), content, 0o600); err != nil {
		return DockerConfig{}, fmt.Errorf("write registry credentials for build hooks: %w", err)
	}
	return DockerConfig{Dir: dir, Content: secret.New(string(content))}, nil
}

// dockerHost returns the key of a credential in Docker's config.json: the host, or a URL for Docker
// Hub.
func dockerHost(host string) string {
	host, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"), "/")
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "https://index.docker.io/v1/"
	}
	return host
}
