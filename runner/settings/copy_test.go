package settings_test

import (
	"strings"
	"testing"

	"slipway/runner/settings"
)

func TestPushOnlyHasASource(t *testing.T) {
	for source, want := range map[string]settings.Copy{
		"":                          {On: true, Reference: "registry.example.com/acme/app:1.2"},
		"acme/base:3":               {On: true, Reference: "docker.io/acme/base:3"},
		"registry.example.com/base": {On: true, Reference: "registry.example.com/base:latest"},
		"./out//image.tar":          {On: true, File: "out/image.tar"},
		"/shared/layout/":           {On: true, File: "/shared/layout"},
	} {
		got := readPlugin(t, "PLUGIN_PUSH_ONLY=true", "PLUGIN_TAGS=1.2,latest", "PLUGIN_SOURCE_IMAGE="+source)
		checkEqual(t, source, got.Copy, want)
	}
	for want, environ := range map[string][]string{
		"PLUGIN_PUSH_ONLY and PLUGIN_DRY_RUN are both true":                {"PLUGIN_PUSH_ONLY=true", "PLUGIN_DRY_RUN=true"},
		"PLUGIN_PUSH_ONLY and PLUGIN_NO_PUSH are both true":                {"PLUGIN_PUSH_ONLY=true", "PLUGIN_NO_PUSH=true"},
		"PLUGIN_PUSH_ONLY is true, and PLUGIN_OUTPUT prevents":             {"PLUGIN_PUSH_ONLY=true", "PLUGIN_OUTPUT=type=image,push=false"},
		"PLUGIN_OUTPUT asks for a file of the image":                       {"PLUGIN_PUSH_ONLY=true", "PLUGIN_OUTPUT=type=oci,dest=image.tar"},
		`PLUGIN_PUSH_ONLY is "maybe"`:                                      {"PLUGIN_PUSH_ONLY=maybe"},
		`PLUGIN_SOURCE_IMAGE: "Out/Image.tar" is not the name of an image`: {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=Out/Image.tar"},
		`PLUGIN_SOURCE_IMAGE: "a b" is not the name of an image`:           {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=a b"},
		"a file's path begins with / or ./":                                {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=../Image"},
	} {
		checkError(t, strings.Join(environ, " "), pluginError(environ...), want)
	}
}

// A pipeline's steps may share their settings, so an unused one is noted, and no error.
func TestASourceWithoutPushOnlyIsNotUsed(t *testing.T) {
	got := readPlugin(t, "PLUGIN_SOURCE_IMAGE=acme/base:3")
	checkEqual(t, "copy", got.Copy, settings.Copy{})
	checkNotes(t, "without push_only", got.Warnings, "PLUGIN_SOURCE_IMAGE is not used")
}

func TestPushOnlyWithoutATagIsSkipped(t *testing.T) {
	got := readPlugin(t, "PLUGIN_PUSH_ONLY=true", "DRONE=true", "DRONE_COMMIT_REF=refs/heads/feature/x",
		"DRONE_COMMIT_BRANCH=feature/x", "DRONE_REPO_BRANCH=main", "DRONE_BUILD_EVENT=push")
	checkEqual(t, "number of tags", len(got.Tags), 0)
	if want := "there is no tag to push"; !strings.Contains(got.Skip, want) {
		t.Errorf("got reason %q, want %q", got.Skip, want)
	}
}
