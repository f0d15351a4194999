package settings_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/runner/settings"
)

// Every setting of plugins/docker, with a value that a pipeline may have for it.
// Source: https://github.com/drone-plugins/drone-docker/blob/master/cmd/drone-docker/main.go
var ofDocker = []string{
	"ADD_HOST=db:10.0.0.1",
	"ARTIFACT_FILE=artifact.json",
	"AUTO_LABEL=true",
	"AUTO_TAG=false",
	"AUTO_TAG_SUFFIX=arm",
	"BASE_IMAGE_PASSWORD=p",
	"BASE_IMAGE_REGISTRY=r.example.com",
	"BASE_IMAGE_USERNAME=u",
	"BIP=10.9.0.1/16",
	"BUILD_ARGS=A=1",
	"BUILD_ARGS_FROM_ENV=PATH",
	"BUILD_ARGS_NEW=A=1;B=2",
	"CACHE_FROM=acme/app:latest",
	"COMPRESS=true",
	"CONFIG={}",
	"CONTEXT=.",
	"COSIGN_PARAMS=-a x=y",
	"COSIGN_PASSWORD=p",
	"COSIGN_PRIVATE_KEY=k",
	"CUSTOM_DNS=10.0.0.2",
	"CUSTOM_DNS_SEARCH=example.com",
	"CUSTOM_LABELS=a=b",
	"DAEMON_OFF=false",
	"DAEMON_RETRY_COUNT=15",
	"DEBUG=true",
	"DEFAULT_SUFFIX=arm",
	"DEFAULT_TAGS=false",
	"DOCKERFILE=Dockerfile",
	"DOCKER_PASSWORD=p",
	"DOCKER_REGISTRY=r.example.com",
	"DOCKER_USERNAME=u",
	"DRY_RUN=true",
	"EMAIL=a@example.com",
	"ENV_FILE=env",
	"EXPERIMENTAL=true",
	"INSECURE=true",
	"IPV6=true",
	"LABEL_SCHEMA=a=b",
	"MIRROR=https://mirror.example.com",
	"MTU=1400",
	"MULTIPLE_BUILD_ARGS=false",
	"NO_CACHE=true",
	"NO_PUSH=true",
	"PASSWORD=p",
	"PLATFORM=linux/amd64",
	"PULL_IMAGE=true",
	"PURGE=true",
	"PUSH_ONLY=true",
	"QUIET=true",
	"REGISTRY=https://registry.example.com",
	"REGISTRY_TYPE=Docker",
	"REPO=registry.example.com/acme/app",
	"REPO_LINK=https://example.com",
	"SECRET=id=a,env=PATH",
	"SECRETS_FROM_ENV=a=PATH",
	"SECRETS_FROM_FILE=a=file",
	"SOURCE_IMAGE=acme/app:1",
	"SQUASH=true",
	"SSH_AGENT_KEY=k",
	"STORAGE_DRIVER=vfs",
	"STORAGE_PATH=/var/lib/docker",
	"TAG=1",
	"TAGS=1,2",
	"TARGET=release",
	"USERNAME=u",
}

// Every setting of Woodpecker's docker-buildx, its versions 4 and 6, in the same way.
// Source: https://codeberg.org/woodpecker-plugins/docker-buildx/src/branch/main/docs.md
var ofBuildx = []string{
	"ADD_HOST=db:10.0.0.1",
	"AUTO_LABEL=false",
	"AUTO_LABELS=false",
	"AUTO_TAG=false",
	"AUTO_TAG_SUFFIX=arm",
	"AWS_ACCESS_KEY_ID=k",
	"AWS_REGION=us-east-1",
	"AWS_SECRET_ACCESS_KEY=k",
	"BIP=10.9.0.1/16",
	`BUILD_ARGS={"A":"1"}`,
	"BUILD_ARGS_FROM_ENV=PATH",
	"BUILDKIT_CONFIG=debug = true",
	"BUILDKIT_DEBUG=true",
	"BUILDKIT_DRIVEROPT=network=host",
	"CACHE_FROM=acme/app",
	"CACHE_IMAGES=acme/cache",
	"CACHE_TO=type=inline",
	"COMPRESS=true",
	"CONFIG={}",
	"CONTEXT=.",
	"CUSTOM_DNS=10.0.0.2,10.0.0.3",
	"CUSTOM_DNS_SEARCH=example.com",
	"DAEMON_OFF=true",
	"DEBUG=true",
	"DEFAULT_LABELS=true",
	"DEFAULT_SUFFIX=arm",
	"DEFAULT_TAG=next",
	"DOCKERFILE=Dockerfile",
	"DRY_RUN=true",
	"ECR_CREATE_REPOSITORY=true",
	"ECR_LIFECYCLE_POLICY={}",
	"ECR_REPOSITORY_POLICY={}",
	"ECR_SCAN_ON_PUSH=true",
	"EMAIL=a@example.com",
	"ENV_FILE=env",
	"EXPERIMENTAL=true",
	"HTTPS_PROXY=http://proxy:3128",
	"HTTP_PROXY=http://proxy:3128",
	"INSECURE=true",
	"IPV6=true",
	"LABEL=a=b",
	"LABELS=a=b",
	"LOGINS=[]",
	"MIRROR=https://mirror.example.com",
	"MTU=1400",
	"NO_CACHE=true",
	"NO_PROXY=localhost",
	"OUTPUT=type=image,push=true",
	"PASSWORD=p",
	"PLATFORMS=linux/amd64,linux/arm64",
	"PROVENANCE=mode=min",
	"PULL_IMAGE=true",
	"PURGE=true",
	"QUIET=true",
	"REGISTRY=https://registry.example.com",
	"REMOTE_BUILDERS=root@build.example.com",
	"REPO=registry.example.com/acme/app",
	"SBOM=true",
	"SECRETS=id=a,env=PATH",
	"SSH_KEY=k",
	"STORAGE_DRIVER=vfs",
	"STORAGE_PATH=/var/lib/docker",
	"TAG=1",
	"TAGS=1,2",
	"TAGS_FILE=tags",
	"TAG_FILE=tags",
	"TARGET=release",
	"USERNAME=u",
}

const atAmazon = "PLUGIN_REPO=123456789012.dkr.ecr.us-east-1.amazonaws.com/acme/app"

var amazonsKey = []string{atAmazon, "AWS_ACCESS_KEY_ID=k", "AWS_SECRET_ACCESS_KEY=k"}

// together maps a setting to the settings that it needs.
var together = map[string][]string{
	"PLUGIN_AWS_ACCESS_KEY_ID":     {atAmazon, "PLUGIN_AWS_SECRET_ACCESS_KEY=k"},
	"PLUGIN_AWS_SECRET_ACCESS_KEY": {atAmazon, "PLUGIN_AWS_ACCESS_KEY_ID=k"},
	"PLUGIN_ECR_CREATE_REPOSITORY": amazonsKey,
	"PLUGIN_ECR_LIFECYCLE_POLICY":  amazonsKey,
	"PLUGIN_ECR_REPOSITORY_POLICY": amazonsKey,
	"PLUGIN_ECR_SCAN_ON_PUSH":      amazonsKey,
	"PLUGIN_USERNAME":              {"PLUGIN_PASSWORD=p"},
	"PLUGIN_PASSWORD":              {"PLUGIN_USERNAME=u"},
	"PLUGIN_BASE_IMAGE_USERNAME":   {"PLUGIN_BASE_IMAGE_PASSWORD=p"},
	"PLUGIN_BASE_IMAGE_PASSWORD":   {"PLUGIN_BASE_IMAGE_USERNAME=u"},
	"PLUGIN_DOCKER_USERNAME":       {"PLUGIN_DOCKER_PASSWORD=p"},
	"PLUGIN_DOCKER_PASSWORD":       {"PLUGIN_DOCKER_USERNAME=u"},
}

// refused maps a setting that must be changed to the text of its error.
var refused = map[string]string{
	"REMOTE_BUILDERS": "run `slipway builder` there", // that plugin accepts any host key
}

// A pipeline's settings stay valid if its image is replaced.
func TestEverySettingOfBothPluginsIsAccepted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"tags": "1.2\n", "env": "OTHER=1\n", "file": "x"})
	for _, line := range slices.Concat(ofDocker, ofBuildx) {
		name, _, _ := strings.Cut(line, "=")
		for _, spelled := range []string{name, strings.ReplaceAll(name, "_", "-")} {
			e := plugin(
				append(
					together["PLUGIN_"+name],
					"CI_WORKSPACE="+dir,
					"PLUGIN_"+strings.Replace(line, name, spelled, 1),
				)...)
			_, err := settings.ReadPlugin(e)
			if want := refused[name]; want != "" {
				checkError(t, spelled, err, want)
			} else if err != nil {
				t.Errorf("%s: %v", spelled, err)
			}
		}
	}
}

func TestSettingsForADaemonAreOneLineOfTheLog(t *testing.T) {
	got := readPlugin(t, "PLUGIN_STORAGE_DRIVER=vfs", "PLUGIN_MTU=1400", "PLUGIN_IPV6=false",
		"PLUGIN_DAEMON_OFF=False", "PLUGIN_PURGE=true")
	checkSame(t, "notes", got.Warnings, []string{"PLUGIN_MTU, PLUGIN_PURGE, PLUGIN_STORAGE_DRIVER have no effect: " +
		"there is no Docker daemon (docs/migrate-step.md)"})
}

func TestNoPushIsADryRun(t *testing.T) {
	got := readPlugin(t, "PLUGIN_NO_PUSH=true")
	checkEqual(t, "dry run", got.DryRun, true)
	checkEqual(t, "origin", got.Origins["PLUGIN_DRY_RUN"], "PLUGIN_NO_PUSH")
	checkError(t, "two values", pluginError("PLUGIN_NO_PUSH=true", "PLUGIN_DRY_RUN=false"),
		"PLUGIN_DRY_RUN and PLUGIN_NO_PUSH are one setting")
}

func TestAutoLabelsByTheNameOfItsManual(t *testing.T) {
	checkEqual(t, "automatic labels", readPlugin(t, "PLUGIN_AUTO_LABELS=false").Labels.Auto, false)
}
