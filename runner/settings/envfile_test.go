package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// If a file and the step set the same variable, each CI's plugin uses a different one.
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
		got := readPlugin(t, ci, "CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE=out/env", "PLUGIN_TAGS=3",
			"PLUGIN_BUILD_ARGS_FROM_ENV=VERSION")
		checkEqual(t, ci+": tags", strings.Join(got.Tags, " "), want.tags)
		checkEqual(t, ci+": target", got.Target, "release")
		checkEqual(t, ci+": build argument", got.BuildArgs["VERSION"], "1.2")
		checkEqual(t, ci+": context", got.Context, ".")
		checkNotes(t, ci, got.Warnings, want.note)
		checkMasked(t, got, "canary-password")
		if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "canary") {
			t.Errorf("%s: settings: got %s, want no password of the file in it", ci, shown)
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
		checkError(t, path, pluginError("CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+path), want)
	}
	got := readPlugin(t, "CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+outside)
	checkSame(t, "tags of an absolute path", got.Tags, []string{"9"})
	for _, path := range []string{"absent", "/no/such/file"} {
		got := readPlugin(t, "CI_WORKSPACE="+dir, "PLUGIN_ENV_FILE="+path)
		checkNotes(t, path, got.Warnings, "the file "+path)
	}
}
