package settings_test

import "testing"

// A setting that another one leaves without effect is named in the log.
func TestUnusedSettingsAreNamed(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    string
	}{
		{
			[]string{"PLUGIN_PUSH_ONLY=true", "PLUGIN_TAGS=1", "PLUGIN_BUILD_ARGS=A=b", "PLUGIN_TARGET=release", "PLUGIN_NO_CACHE=false"},
			"not used: PLUGIN_TARGET, PLUGIN_BUILD_ARGS; PLUGIN_PUSH_ONLY is true",
		},
		{
			[]string{"PLUGIN_PUSH_ONLY=true", "PLUGIN_TAGS=1", "PLUGIN_ENABLE_CACHE=true", "PLUGIN_REPRODUCIBLE=true"},
			"not used: PLUGIN_ENABLE_CACHE, PLUGIN_REPRODUCIBLE; PLUGIN_PUSH_ONLY is true",
		},
		{[]string{"PLUGIN_STATE=/cache", "PLUGIN_BUILDER=unix:///b.sock"}, "not used: PLUGIN_STATE; PLUGIN_BUILDER names a builder"},
		{[]string{"PLUGIN_AUTO_TAG_SUFFIX=arm"}, "PLUGIN_AUTO_TAG_SUFFIX is not used: PLUGIN_AUTO_TAG is not true"},
		{[]string{"PLUGIN_DEFAULT_TAG=edge"}, "PLUGIN_DEFAULT_TAG is not used: PLUGIN_AUTO_TAG is not true"},
		{[]string{"PLUGIN_REGISTRY_TYPE=GCR"}, "PLUGIN_REGISTRY_TYPE is not used: PLUGIN_ARTIFACT_FILE is not set"},
		{[]string{"PLUGIN_REPO_LINK=https://example.com", "PLUGIN_AUTO_LABEL=false"}, "PLUGIN_REPO_LINK is not used"},
		{[]string{"PLUGIN_AWS_REGION=eu-west-1"}, "PLUGIN_AWS_REGION is not used: no image is at Amazon's registry"},
	} {
		checkNotes(t, c.environ[0], readPlugin(t, c.environ...).Warnings, c.want)
	}
	checkNotes(t, "a variable for all steps",
		readPlugin(t, "SLIPWAY_BUILDER_STATE=/cache", "SLIPWAY_BUILDER=unix:///b.sock").Warnings)
}
