package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/runner/settings"
)

// Where a file and the step have a variable, each CI's plugin takes another of them.
func TestAFileOfVariablesIsReadFirst(t *testing.T) {
	dir := t.TempDir()
	write(
		t,
		dir,
		map[string]string{
			"out/env": "# made by the step before\nexport PLUGIN_TAGS=\"1.2,1\"\nPLUGIN_TARGET=release\nPLUGIN_USERNAME=ci\nPLUGIN_PASSWORD=canary-password\n" +
				"VERSION=1.2\nPLUGIN_CONTEXT=\nPLUGIN_AUTO_TAG=false\n",
		},
	)
	for ci, want := range map[string]struct{ tags, note string }{
		"DRONE=true":                {"3", "; set in the step already, and not taken from it: PLUGIN_TAGS"},
		"CI_SYSTEM_NAME=woodpecker": {"1.2 1", "out/env has PLUGIN_AUTO_TAG, PLUGIN_PASSWORD, PLUGIN_TAGS, PLUGIN_TARGET, PLUGIN_USERNAME, VERSION"},
	} {
		got, err := settings.ReadPlugin(
			plugin(
				ci,
				"CI_WORKSPACE="+dir,
				"PLUGIN_ENV_FILE=out/env",
				"PLUGIN_TAGS=3",
				"PLUGIN_BUILD_ARGS_FROM_ENV=VERSION",
			),
		)
		if err != nil {
			t.Fatalf("%s: %v", ci, err)
		}
		if tags := strings.Join(
			got.Tags,
			" ",
		); tags != want.tags || got.Target != "release" || got.BuildArgs["VERSION"] != "1.2" ||
			got.Context != "." {
			t.Errorf("%s: tags %q, %+v", ci, tags, got)
		}
		if len(got.Warnings) != 1 || !strings.HasSuffix(got.Warnings[0], want.note) {
			t.Errorf("%s: notes %q", ci, got.Warnings)
		}
		if log := secret.NewRedactor(got.Secrets()...).
			Mask([]byte("canary-password")); strings.Contains(
			string(log)+fmt.Sprintf("%+v", got),
			"canary",
		) {
			t.Errorf("%s: the password of the file is shown: %+v", ci, got)
		}
	}
}

func TestAFileOfVariablesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	write(
		t,
		dir,
		map[string]string{
			"large":  strings.Repeat("#", 64<<10+1),
			"broken": "A=1\ncanary value\n",
			"typo":   "PLUGIN_TAGZ=1\n",
		},
	)
	write(t, filepath.Dir(outside), map[string]string{"outside": "PLUGIN_TAGS=9\n"})
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"large": "larger than 64 KiB", "broken": "does not consist of lines NAME=value", "link": "link", ".": "PLUGIN_ENV_FILE", "typo": "did you mean PLUGIN_TAGS?"} {
		_, err := settings.ReadPlugin(plugin("CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+path))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if got, err := settings.ReadPlugin(
		plugin("CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+outside),
	); err != nil ||
		got.Tags[0] != "9" {
		t.Errorf("an absolute path: %v, %v", err, got.Tags)
	}
	for _, path := range []string{"absent", "/no/such/file"} {
		got, err := settings.ReadPlugin(plugin("CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+path))
		if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "the file "+path) {
			t.Errorf("%s: %v, notes %q", path, err, got.Warnings)
		}
	}
}
