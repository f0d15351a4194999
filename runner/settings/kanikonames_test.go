package settings_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/runner/settings"
)

// settingsOfDronesKaniko returns every setting of Drone's plugins/kaniko and its variants for Amazon and
// Google, with a value that a pipeline may have for it.
// Source: https://github.com/drone/drone-kaniko/tree/main/cmd
func settingsOfDronesKaniko() []string {
	return []string{
		"DOCKERFILE=Dockerfile",
		"CONTEXT=.",
		"TAGS=1,2",
		"EXPAND_REPO=true",
		"EXPAND_TAG=true",
		"AUTO_TAG=false",
		"CONFIG={}",
		"AUTO_TAG_SUFFIX=arm",
		"BUILD_ARGS=A=1",
		"BUILD_ARGS_NEW=A=1;B=2",
		"MULTIPLE_BUILD_ARGS=false",
		"TARGET=release",
		"REPO=registry.example.com/acme/app",
		"CUSTOM_LABELS=a=b",
		"REGISTRY=https://registry.example.com",
		"DOCKER_REGISTRY=r.example.com",
		"BASE_IMAGE_REGISTRY=r.example.com",
		"REGISTRY_MIRRORS=mirror.gcr.io",
		"USERNAME=u",
		"DOCKER_USERNAME=u",
		"BASE_IMAGE_USERNAME=u",
		"PASSWORD=p",
		"DOCKER_PASSWORD=p",
		"BASE_IMAGE_PASSWORD=p",
		"SKIP_TLS_VERIFY=true",
		"SNAPSHOT_MODE=redo",
		"ENABLE_CACHE=true",
		"CACHE_REPO=registry.example.com/acme/cache",
		"CACHE_TTL=24",
		"ARTIFACT_FILE=artifact.json",
		"NO_PUSH=true",
		"TAR_PATH=image.tar",
		"DESTINATION_TAR_PATH=image.tar",
		"VERBOSITY=debug",
		"PLATFORM=linux/amd64",
		"CUSTOM_PLATFORM=linux/amd64",
		"SKIP_UNUSED_STAGES=true",
		"CACHE_DIR=/cache",
		"CACHE_COPY_LAYERS=true",
		"CACHE_RUN_LAYERS=true",
		"CLEANUP=true",
		"COMPRESSED_CACHING=false",
		"CONTEXT_SUB_PATH=sub",
		"FORCE=true",
		"IMAGE_NAME_WITH_DIGEST_FILE=names",
		"IMAGE_NAME_TAG_WITH_DIGEST_FILE=names",
		"INSECURE=true",
		"INSECURE_PULL=true",
		"INSECURE_REGISTRY=r.example.com:5000",
		"LOG_FORMAT=text",
		"LOG_TIMESTAMP=true",
		"OCI_LAYOUT_PATH=out",
		"PUSH_RETRY=3",
		"REGISTRY_CERTIFICATE=r.example.com=ca.pem",
		"REGISTRY_CLIENT_CERT=r.example.com=cert.pem,key.pem",
		"SKIP_DEFAULT_REGISTRY_FALLBACK=true",
		"REPRODUCIBLE=true",
		"SINGLE_SNAPSHOT=true",
		"SKIP_PUSH_PERMISSION_CHECK=true",
		"SKIP_TLS_VERIFY_PULL=true",
		"SKIP_TLS_VERIFY_REGISTRY=true",
		"USE_NEW_RUN=true",
		"IGNORE_VAR_RUN=false",
		"IGNORE_PATH=/x",
		"IGNORE_PATHS=/x,/y",
		"IMAGE_FS_EXTRACT_RETRY=3",
		"IMAGE_DOWNLOAD_RETRY=3",
		"SOURCE_TAR_PATH=image.tar",
		"PUSH_ONLY=true",
		"ACCESS_KEY=k",
		"SECRET_KEY=k",
		"REGION=us-east-1",
		"CREATE_REPOSITORY=true",
		"LIFECYCLE_POLICY=file",
		"REPOSITORY_POLICY=file",
		"JSON_KEY={}",
	}
}

// settingsOfWoodpeckersKaniko returns those of Woodpecker's plugin-kaniko.
// Source: https://github.com/woodpecker-ci/plugin-kaniko/blob/main/plugin.sh
func settingsOfWoodpeckersKaniko() []string {
	return []string{
		"REGISTRY=https://registry.example.com",
		"ENV_FILE=env",
		"DOCKER_CONFIG_JSON={}",
		"USERNAME=u",
		"PASSWORD=p",
		"JSON_KEY={}",
		"DOCKERFILE=Dockerfile",
		"CONTEXT=.",
		"LOG_LEVEL=debug",
		"EXTRA_OPTS=--single-snapshot",
		"TARGET=release",
		"SKIP_TLS_VERIFY=true",
		"INSECURE=true",
		"INSECURE_PULL=true",
		"INSECURE_REGISTRY=r.example.com:5000",
		"CACHE=true",
		"CACHE_REPO=acme/cache",
		"CACHE_TTL=24h",
		"BUILD_ARGS=A=1",
		"BUILD_ARGS_FROM_ENV=PATH",
		"AUTO_TAG=false",
		"MIRRORS=mirror.example.com",
		"DRY_RUN=true",
		"REPO=registry.example.com/acme/app",
		"DESTINATIONS=acme/app:1,acme/app:2",
		"TAGS=1,2",
		"IGNORE_VAR_RUN=false",
		"SINGLE_SNAPSHOT=true",
		"CLEANUP=true",
	}
}

// A pipeline's settings stay valid if its kaniko image is replaced, except those that cannot be honored.
func TestEverySettingOfKanikosPluginsIsAccepted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"env": "OTHER=1\n", "file": "{}"})
	needed := map[string][]string{
		"ACCESS_KEY": {atAmazon, "PLUGIN_SECRET_KEY=k"}, "SECRET_KEY": {atAmazon, "PLUGIN_ACCESS_KEY=k"},
		"CREATE_REPOSITORY": amazonsKey, "LIFECYCLE_POLICY": amazonsKey, "REPOSITORY_POLICY": amazonsKey,
	}
	refused := map[string]string{
		"OCI_LAYOUT_PATH": "set output: type=oci", "SKIP_DEFAULT_REGISTRY_FALLBACK": "is not supported",
		"IGNORE_PATH": "RUN --mount=type=tmpfs", "IGNORE_PATHS": "RUN --mount=type=tmpfs",
	}
	for _, line := range slices.Concat(settingsOfDronesKaniko(), settingsOfWoodpeckersKaniko()) {
		name, _, _ := strings.Cut(line, "=")
		with := slices.Concat(together["PLUGIN_"+name], needed[name])
		_, err := settings.ReadPlugin(plugin(append(with, "CI_WORKSPACE="+dir, "PLUGIN_"+line)...))
		if want := refused[name]; want != "" {
			checkError(t, line, err, want)
		} else if err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}
