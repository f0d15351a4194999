package settings_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		got, err := settings.ReadPlugin(
			plugin("PLUGIN_PUSH_ONLY=true", "PLUGIN_TAGS=1.2,latest", "PLUGIN_SOURCE_IMAGE="+source),
		)
		if diff := cmp.Diff(want, got.Copy); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", source, err, diff)
		}
	}
	for want, environ := range map[string][]string{
		"PLUGIN_PUSH_ONLY and PLUGIN_DRY_RUN are both true":    {"PLUGIN_PUSH_ONLY=true", "PLUGIN_DRY_RUN=true"},
		"PLUGIN_PUSH_ONLY and PLUGIN_NO_PUSH are both true":    {"PLUGIN_PUSH_ONLY=true", "PLUGIN_NO_PUSH=true"},
		"PLUGIN_PUSH_ONLY is true, and PLUGIN_OUTPUT prevents": {"PLUGIN_PUSH_ONLY=true", "PLUGIN_OUTPUT=type=image,push=false"},
		"PLUGIN_OUTPUT asks for a file of the image":           {"PLUGIN_PUSH_ONLY=true", "PLUGIN_OUTPUT=type=oci,dest=image.tar"},
		`PLUGIN_PUSH_ONLY is "maybe"`:                          {"PLUGIN_PUSH_ONLY=maybe"},
		`PLUGIN_SOURCE_IMAGE: "Out/Image.tar" names no image`:  {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=Out/Image.tar"},
		`PLUGIN_SOURCE_IMAGE: "a b" names no image`:            {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=a b"},
		"a file's path begins with / or ./":                    {"PLUGIN_PUSH_ONLY=true", "PLUGIN_SOURCE_IMAGE=../Image"},
	} {
		if _, err := settings.ReadPlugin(plugin(environ...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", environ, err, want)
		}
	}
}

// A pipeline's steps may share their settings: one that is not used is said, and no error.
func TestASourceWithoutPushOnlyIsNotUsed(t *testing.T) {
	got, err := settings.ReadPlugin(plugin("PLUGIN_SOURCE_IMAGE=acme/base:3"))
	if err != nil || got.Copy != (settings.Copy{}) || len(got.Warnings) != 1 ||
		!strings.Contains(got.Warnings[0], "PLUGIN_SOURCE_IMAGE is not used") {
		t.Errorf("%+v, %v, %v", got.Copy, got.Warnings, err)
	}
}

func TestPushOnlyWithoutATagIsSkipped(t *testing.T) {
	got, err := settings.ReadPlugin(
		plugin(
			"PLUGIN_PUSH_ONLY=true",
			"DRONE=true",
			"DRONE_COMMIT_REF=refs/heads/feature/x",
			"DRONE_COMMIT_BRANCH=feature/x",
			"DRONE_REPO_BRANCH=main",
			"DRONE_BUILD_EVENT=push",
		),
	)
	if err != nil || len(got.Tags) != 0 || !strings.Contains(got.Skip, "there is no tag to push") {
		t.Errorf("tags %v, skip %q, %v", got.Tags, got.Skip, err)
	}
}
