package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/settings"
)

// A fragment is an example of a step in its plugin's documentation. It has the settings, the files that
// an earlier step left in the workspace, and the expected results. The results are those of a push to
// main, of a push to a branch, and of the Git tags 1.0.0 and 1.0.0-rc.1.
// Sources: https://plugins.drone.io/plugins/docker, https://woodpecker-ci.org/plugins/docker-buildx
var fragments = []struct {
	name, yaml                       string
	files                            map[string]string
	main, branch, release, candidate string
}{
	{
		name: "docker: one tag",
		yaml: "{auto_tag_mode: docker, tags: latest}",
		main: "latest", branch: "latest", release: "latest", candidate: "latest",
	},
	{
		name:      "docker: several tags",
		yaml:      "{auto_tag_mode: docker, tags: [latest, '1.0.1', '1.0']}",
		main:      "latest 1.0.1 1.0",
		branch:    "latest 1.0.1 1.0",
		release:   "latest 1.0.1 1.0",
		candidate: "latest 1.0.1 1.0",
	},
	{
		name: "docker: a file .tags, a comma list", files: map[string]string{".tags": "5.2.6,5.2.4"},
		yaml: "{auto_tag_mode: docker}",
		main: "5.2.6 5.2.4", branch: "5.2.6 5.2.4", release: "5.2.6 5.2.4", candidate: "5.2.6 5.2.4",
	},
	{
		name: "docker: tags go before .tags", files: map[string]string{".tags": "5.2.6,5.2.4"},
		yaml: "{auto_tag_mode: docker, tags: abc}",
		main: "abc", branch: "abc", release: "abc", candidate: "abc",
	},
	{
		name: "docker: auto_tag",
		yaml: "{auto_tag_mode: docker, auto_tag: true}",
		main: "latest", branch: "skip", release: "1 1.0 1.0.0", candidate: "1.0.0-rc.1",
	},
	{
		name:      "docker: auto_tag with a suffix",
		yaml:      "{auto_tag_mode: docker, auto_tag: true, auto_tag_suffix: linux-amd64}",
		main:      "linux-amd64",
		branch:    "skip",
		release:   "1-linux-amd64 1.0-linux-amd64 1.0.0-linux-amd64",
		candidate: "1.0.0-rc.1-linux-amd64",
	},
	{
		name: "docker: nothing",
		yaml: "{auto_tag_mode: docker}",
		main: "latest", branch: "latest", release: "latest", candidate: "latest",
	},
	{
		name: "docker: by its other names",
		yaml: "{auto_tag_mode: docker, default_tags: true, default_suffix: arm}",
		main: "arm", branch: "skip", release: "1-arm 1.0-arm 1.0.0-arm", candidate: "1.0.0-rc.1-arm",
	},
	{
		name: "buildx: tag",
		yaml: "{auto_tag_mode: buildx, tag: latest}",
		main: "latest", branch: "latest", release: "latest", candidate: "latest",
	},
	{
		name: "buildx: .tags goes before tags", files: map[string]string{".tags": "5.2.6,5.2.4"},
		yaml: "{auto_tag_mode: buildx, tags: abc}",
		main: "5.2.6 5.2.4", branch: "5.2.6 5.2.4", release: "5.2.6 5.2.4", candidate: "5.2.6 5.2.4",
	},
	{
		name:      "buildx: a file of tags, a line each",
		files:     map[string]string{"out/tags.txt": "one\n two \r\n\n", ".tags": "x"},
		yaml:      "{auto_tag_mode: buildx, tags_file: out/tags.txt, tags: abc}",
		main:      "one two",
		branch:    "one two",
		release:   "one two",
		candidate: "one two",
	},
	{
		name: "buildx: auto_tag",
		yaml: "{auto_tag_mode: buildx, auto_tag: true}",
		main: "latest", branch: "skip", release: "1 1.0 1.0.0 latest", candidate: "1.0.0-rc.1",
	},
	{
		name: "buildx: auto_tag and tags",
		yaml: "{auto_tag_mode: buildx, auto_tag: true, tags: [abc, latest]}",
		main: "latest abc", branch: "abc latest", release: "1 1.0 1.0.0 abc latest", candidate: "1.0.0-rc.1 abc latest",
	},
	{
		name: "buildx: default_tag and default_suffix",
		yaml: "{auto_tag_mode: buildx, auto-tag: true, default-tag: edge, default-suffix: arm, tag: abc}",
		main: "arm abc", branch: "abc", release: "1-arm 1.0-arm 1.0.0-arm abc", candidate: "1.0.0-rc.1-arm abc",
	},
	{
		name: "slipway: nothing",
		yaml: "{}",
		main: "latest", branch: "", release: "latest", candidate: "",
	},
	{
		name: "slipway: auto_tag",
		yaml: "{auto_tag: true}",
		main: "latest", branch: "skip", release: "1 1.0 1.0.0", candidate: "1.0.0-rc.1",
	},
	{
		name: "slipway: auto_tag, and latest with each release",
		yaml: "{auto_tag: true, tags: [latest, abc]}",
		main: "latest abc", branch: "abc", release: "1 1.0 1.0.0 latest abc", candidate: "1.0.0-rc.1 abc",
	},
	{
		name: "slipway: tags go before .tags", files: map[string]string{".tags": "x"},
		yaml: "{tags: abc}",
		main: "abc", branch: "abc", release: "abc", candidate: "abc",
	},
	{
		name: "slipway: tags go before what could not be read", files: map[string]string{".tags/x": ""},
		yaml: "{tags: abc}",
		main: "abc", branch: "abc", release: "abc", candidate: "abc",
	},
}

// pushed is the environment of a ref, as Drone and Woodpecker set it.
func pushed(ref string) map[string][]string {
	tag, isTag := strings.CutPrefix(ref, "refs/tags/")
	branch := strings.TrimPrefix(ref, "refs/heads/")
	event := "push"
	if isTag {
		event, branch = "tag", tag
	}
	drone := []string{
		"DRONE=true",
		"DRONE_BUILD_EVENT=" + event,
		"DRONE_COMMIT_REF=" + ref,
		"DRONE_REPO_BRANCH=main",
		"DRONE_TAG=" + tag,
	}
	woodpecker := []string{
		"CI=woodpecker",
		"CI_PIPELINE_EVENT=" + event,
		"CI_COMMIT_REF=" + ref,
		"CI_COMMIT_BRANCH=" + branch,
		"CI_REPO_DEFAULT_BRANCH=main",
		"DRONE_BRANCH=" + branch,
	}
	if isTag {
		woodpecker = append(woodpecker, "CI_COMMIT_TAG="+tag)
	}
	return map[string][]string{"Drone": drone, "Woodpecker": woodpecker}
}

func TestDocumentedStepsPushTheTagsOfTheirPlugins(t *testing.T) {
	for _, f := range fragments {
		dir := t.TempDir()
		write(t, dir, f.files)
		for ref, want := range map[string]string{
			"refs/heads/main": f.main, "refs/heads/feature/x": f.branch, "refs/tags/1.0.0": f.release, "refs/tags/v1.0.0-rc.1": f.candidate,
		} {
			for ci, environ := range pushed(ref) {
				environ = append(environ, "PLUGIN_REPO=acme/app", "CI_WORKSPACE="+dir)
				p, err := settings.ReadPlugin(&environment{lines: append(environ, tagEnviron(t, ci, f.yaml)...)})
				if err != nil {
					t.Errorf("%s, %s of %s: %v", f.name, ref, ci, err)
				}
				got := strings.Join(p.Tags, " ")
				if p.Skip != "" {
					got = strings.TrimSpace(got + " skip")
				}
				if got != want {
					t.Errorf("%s, %s of %s: got %q, want %q", f.name, ref, ci, got, want)
				}
			}
		}
	}
}

// tagEnviron returns settings as a CI passes them: lists joined by commas, - in names kept by Drone.
func tagEnviron(t *testing.T, ci, text string) []string {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, value := range values {
		if entries, ok := value.([]any); ok {
			var all []string
			for _, entry := range entries {
				all = append(all, fmt.Sprint(entry))
			}
			value = strings.Join(all, ",")
		}
		if name = strings.ToUpper(name); ci == "Woodpecker" {
			name = strings.ReplaceAll(name, "-", "_")
		}
		lines = append(lines, fmt.Sprintf("PLUGIN_%s=%v", name, value))
	}
	return lines
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOriginOfTheTags(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"list": "x"})
	for want, lines := range map[string][]string{
		"default":                      nil,
		"PLUGIN_TAG":                   {"PLUGIN_TAG=1"},
		"PLUGIN_TAG_FILE":              {"PLUGIN_TAG_FILE=list"},
		"PLUGIN_AUTO_TAG":              {"PLUGIN_AUTO_TAG=true"},
		"PLUGIN_AUTO_TAG, PLUGIN_TAGS": {"PLUGIN_AUTO_TAG=true", "PLUGIN_TAGS=1"},
		"PLUGIN_DEFAULT_TAGS":          {"PLUGIN_DEFAULT_TAGS=true", "PLUGIN_TAGS=1", "PLUGIN_AUTO_TAG_MODE=docker"},
	} {
		p := readPlugin(t, append(lines, "DRONE_COMMIT_REF=refs/heads/main", "DRONE_REPO_BRANCH=main",
			"CI_WORKSPACE="+dir)...)
		checkEqual(t, strings.Join(lines, " "), p.Origins["PLUGIN_TAGS"], want)
	}
}

func TestTagFaultsNameTheSetting(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"secret": "canary"})
	write(
		t,
		dir,
		map[string]string{
			"empty": "\n",
			"wrong": "ok\na/b\n",
			"large": strings.Repeat("x\n", 40<<10),
			"many":  strings.Repeat("x\n", 101),
		},
	)
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	read := func(line string) error {
		_, err := settings.ReadPlugin(
			plugin(append(strings.Fields(line), "CI_WORKSPACE="+dir, "DRONE_COMMIT_REF=refs/tags/x1.0.0")...),
		)
		return err
	}
	checkFaults(t, read, map[string]string{
		"PLUGIN_TAG=1 PLUGIN_TAGS=2":                       "PLUGIN_TAGS and PLUGIN_TAG are one setting",
		"PLUGIN_TAG=a/b":                                   `PLUGIN_TAG has "a/b"`,
		"PLUGIN_AUTO_TAG=true PLUGIN_DEFAULT_TAGS=false":   "PLUGIN_AUTO_TAG and PLUGIN_DEFAULT_TAGS are one setting",
		"PLUGIN_DEFAULT_TAGS=perhaps":                      `PLUGIN_DEFAULT_TAGS is "perhaps": use true or false`,
		"PLUGIN_AUTO_TAG_SUFFIX=a PLUGIN_DEFAULT_SUFFIX=b": "PLUGIN_AUTO_TAG_SUFFIX and PLUGIN_DEFAULT_SUFFIX are one setting",
		"PLUGIN_AUTO_TAG_MODE=kaniko":                      `PLUGIN_AUTO_TAG_MODE is "kaniko": use docker, buildx or slipway`,
		"PLUGIN_AUTO_TAG=true":                             `PLUGIN_AUTO_TAG: the Git tag "x1.0.0" is not a version`,
		"PLUGIN_TAGS_FILE=none":                            `PLUGIN_TAGS_FILE: the file of tags "none" does not exist`,
		"PLUGIN_TAGS_FILE=../x":                            "is not a path within",
		"PLUGIN_TAGS_FILE=link":                            "leads out of the repository",
		"PLUGIN_TAGS_FILE=.":                               "is not a file",
		"PLUGIN_TAG_FILE=empty":                            `PLUGIN_TAG_FILE: the file "empty" has no tag`,
		"PLUGIN_TAG_FILE=wrong":                            `PLUGIN_TAG_FILE has "a/b"`,
		"PLUGIN_TAG_FILE=large":                            "is larger than 64 KiB",
		"PLUGIN_TAG_FILE=many":                             "PLUGIN_TAG_FILE has 101 tags: the limit is 100",
		"PLUGIN_TAGS_FILE=empty PLUGIN_TAG_FILE=wrong":     "PLUGIN_TAGS_FILE and PLUGIN_TAG_FILE are one setting",
	})
}

func TestAFileNamedDotTagsIsReadOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".tags"), []byte("1.2"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := readPlugin(t, "CI_WORKSPACE="+dir, "PLUGIN_TAGS_FILE=./.tags")
	checkSame(t, "tags", p.Tags, []string{"1.2"})
	checkEqual(t, "number of notes", len(p.TagNotes), 0)
}

// A file .tags outside of the workspace is an error only if its tags would be used.
func TestADotTagsThatLeadsOutIsNotRead(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"secret": "canary"})
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, ".tags")); err != nil {
		t.Fatal(err)
	}
	checkError(t, "buildx",
		pluginError("CI_WORKSPACE="+dir, "PLUGIN_AUTO_TAG_MODE=buildx", "PLUGIN_TAGS=1"), ".tags: ")
	checkSame(t, "tags", readPlugin(t, "CI_WORKSPACE="+dir, "PLUGIN_TAGS=1").Tags, []string{"1"})
}

func TestSettingsComeWithHyphensToo(t *testing.T) {
	e := plugin(
		"PLUGIN_AUTO-TAG=true",
		"PLUGIN_DEFAULT-TAG=edge",
		"DRONE_COMMIT_REF=refs/heads/main",
		"DRONE_REPO_BRANCH=main",
		"NOT-OURS=x",
		"PLUGIN_BUILDER-TLS=canary",
		"PLUGIN_USERNAME=ci",
		"PLUGIN_PASSWORD=p",
	)
	p, err := settings.ReadPlugin(e)
	checkError(t, "certificate", err, "PLUGIN_BUILDER_TLS: it is not a certificate")
	if diff := cmp.Diff([]string{"edge"}, p.Tags, cmp.Comparer(secret.Secret.Equal)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if !slices.Equal(e.removed, []string{"PLUGIN_PASSWORD", "PLUGIN_BUILDER-TLS"}) {
		t.Errorf("removed variables: got %v, want PLUGIN_PASSWORD and PLUGIN_BUILDER-TLS", e.removed)
	}
}
