package citest_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"slipway/runner/ci"
	"slipway/runner/ci/citest"
)

func TestSettingsBecomeTheVariablesOfEachCI(t *testing.T) {
	const text = `
repo: acme/app
tags: [latest, 1.0, '1.0', 7]
dry-run: true
nothing: null
build.args: {A: b, N: 1}
password: {from_secret: token}
logins:
- registry: registry.example.com
  password: {from_secret: token}
`
	for kind, want := range map[string]string{
		ci.Drone: `PLUGIN_BUILD.ARGS={"A":"b","N":1}
PLUGIN_DRY-RUN=true
PLUGIN_LOGINS=[{"password":{"from_secret":"token"},"registry":"registry.example.com"}]
PLUGIN_PASSWORD=canary
PLUGIN_REPO=acme/app
PLUGIN_TAGS=latest,1,1.0,7
WHO=me`,
		ci.Woodpecker: `PLUGIN_BUILD_ARGS={"A":"b","N":1}
PLUGIN_DRY_RUN=true
PLUGIN_LOGINS=[{"password":"canary","registry":"registry.example.com"}]
PLUGIN_PASSWORD=canary
PLUGIN_REPO=acme/app
PLUGIN_TAGS=latest,1,1.0,7
WHO=me`,
	} {
		step := citest.Step{
			CI:          kind,
			Environment: map[string]string{"WHO": "me"},
			Secrets:     map[string]string{"token": "canary"},
		}
		if err := yaml.Unmarshal([]byte(text), &step.Settings); err != nil {
			t.Fatal(err)
		}
		got, err := step.Environ()
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", kind, err, diff)
		}
	}
}

func TestAMissingSecretIsAnError(t *testing.T) {
	step := citest.Step{CI: ci.Drone, Settings: map[string]any{"password": map[string]any{"from_secret": "token"}}}
	if _, err := step.Environ(); err == nil ||
		!strings.Contains(err.Error(), `setting password: there is no secret "token"`) {
		t.Errorf(`environment: got error %v, want the missing secret "token" in it`, err)
	}
}

func TestExpand(t *testing.T) {
	got, err := citest.Expand(
		"${CI_REPO_OWNER}:${DRONE_COMMIT_SHA:0:7}-${DRONE_TAG:-none}",
		map[string]string{"CI_REPO_OWNER": "acme", "DRONE_COMMIT_SHA": "0123456789"},
	)
	if want := "acme:0123456-none"; got != want || err != nil {
		t.Errorf("expanded text: got %q, error %v, want %q", got, err, want)
	}
}
