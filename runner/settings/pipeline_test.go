package settings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/config/identity/identitytest"
	"slipway/config/secret"
	"slipway/runner/settings"
)

const commit = "4f1d0c8f6c0b4bd0a2e3a1f5f0c9b8a7d6e5c4b3"

func pipelineStep(more ...string) *environment {
	return &environment{lines: append([]string{
		"PATH=/usr/bin",
		"PLUGIN_GATEWAY=https://slipway.example.com/",
		"PLUGIN_AUTOMATED_BUILD=kq3",
		"PLUGIN_TOKEN=canary",
		"DRONE_COMMIT_SHA=" + commit,
		"DRONE_COMMIT_REF=refs/tags/v1",
		"DRONE_BUILD_LINK=https://drone.example.com/acme/app/17",
		"DRONE_STAGE_NAME=default",
		"DRONE_STEP_NAME=image",
	}, more...)}
}

func TestReadJoin(t *testing.T) {
	want := settings.PipelineRequest{
		Gateway: "https://slipway.example.com", AutomatedBuild: "kq3", Token: secret.New("canary"), Hooks: true,
		Commit: commit, Ref: "refs/tags/v1", Pipeline: "https://drone.example.com/acme/app/17 default/image",
		Logins: settings.StepLogins{Insecure: "false", Main: settings.Login{Origin: "default and default"}},
	}
	onWoodpecker := &environment{
		lines: append(
			pipelineStep().lines[:4:4],
			"CI_COMMIT_SHA="+commit,
			"CI_COMMIT_REF=refs/tags/v1",
			"CI_PIPELINE_URL=https://drone.example.com/acme/app/17",
			"CI_WORKFLOW_NAME=default",
			"CI_STEP_NAME=image",
			"PLUGIN_BUILDER=",
		),
	}
	for name, e := range map[string]*environment{"Drone": pipelineStep(), "Woodpecker": onWoodpecker} {
		got, err := settings.ReadPipelineRequest(e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(secret.Secret.Equal)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		checkSame(t, name+": removed variables", e.removed, []string{"PLUGIN_TOKEN"})
		if shown := fmt.Sprintf("%+v", got); strings.Contains(shown, "canary") {
			t.Errorf("%s: settings: got %s, want no secret in it", name, shown)
		}
	}
	got, err := settings.ReadPipelineRequest(
		pipelineStep(
			"DRONE_BUILD_LINK=",
			"DRONE_REPO=acme/app",
			"DRONE_BUILD_NUMBER=17",
			"PLUGIN_BUILDER=tcp://builder:1234",
			"PLUGIN_BUILDER_TLS="+identitytest.PEM(t),
			"SLIPWAY_BUILDER=tcp://other:1",
			"PLUGIN_RUNNER_HOOKS=off",
		),
	)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, "pipeline", got.Pipeline, "acme/app#17 default/image")
	checkEqual(t, "builder", got.Builder, "tcp://builder:1234")
	checkEqual(t, "without a certificate", got.BuilderTLS.IsZero(), false)
	checkEqual(t, "hooks", got.Hooks, false)
}

func TestJoinFaultsNameTheSetting(t *testing.T) {
	checkFaults(
		t,
		func(line string) error { _, err := settings.ReadPipelineRequest(pipelineStep(line)); return err },
		map[string]string{
			"PLUGIN_GATEWAY=":                   "PLUGIN_GATEWAY is not set",
			"PLUGIN_GATEWAY=slipway":            "PLUGIN_GATEWAY is not an http",
			"PLUGIN_GATEWAY=https://a:canary@b": "PLUGIN_GATEWAY must have no user",
			"PLUGIN_AUTOMATED_BUILD=":           "PLUGIN_AUTOMATED_BUILD is not set",
			"PLUGIN_AUTOMATED_BUILD=../x":       "PLUGIN_AUTOMATED_BUILD is not an id",
			"PLUGIN_TOKEN=":                     "PLUGIN_TOKEN is not set: make a token",
			"PLUGIN_TOKEN=can ary":              "PLUGIN_TOKEN has white space",
			"DRONE_COMMIT_SHA=":                 "the commit or its ref is unknown",
			"DRONE_COMMIT_REF=":                 "the commit or its ref is unknown",
			"PLUGIN_REPO=acme/app":              "PLUGIN_REPO: this step has no such setting",
			"PLUGIN_RUNNER_HOOKS=yes":           "use on or off",
			"PLUGIN_BUILDER=/run/builder":       "PLUGIN_BUILDER: ",
			"SLIPWAY_BUILDER=/run/builder":      "SLIPWAY_BUILDER: ",
		},
	)
}

func TestModeOfAStep(t *testing.T) {
	for _, c := range []struct {
		environ                            []string
		pipelineStep, withoutGateway, step bool
	}{
		{pipelineStep().lines, true, false, true},
		{[]string{"PLUGIN_GATEWAY=", "PLUGIN_AUTOMATED_BUILD=kq3"}, true, false, false},
		{append(pipelineStep().lines, "PLUGIN_REPO=acme/app"), true, false, true},
		{append(pipelineStep().lines, "PLUGIN_RUNNER_URL=https://ci.example.com/x"), false, false, true},
		{[]string{"PLUGIN_REPO=acme/app"}, false, true, true},
	} {
		if got := settings.IsPipelineRequest(c.environ); got != c.pipelineStep {
			t.Errorf("IsPipelineRequest(%v): got %t, want %t", c.environ, got, c.pipelineStep)
		}
		if got := settings.RunsWithoutGateway(c.environ); got != c.withoutGateway {
			t.Errorf("RunsWithoutGateway(%v): got %t, want %t", c.environ, got, c.withoutGateway)
		}
		if got := settings.IsStep(c.environ); got != c.step {
			t.Errorf("IsStep(%v): got %t, want %t", c.environ, got, c.step)
		}
	}
}

func TestEveryJoinSettingIsDescribed(t *testing.T) {
	all := settings.PipelineRequestSettings()
	if len(all) != 21 || all[0].Name != "PLUGIN_GATEWAY" {
		t.Errorf("settings: got %+v, want 21, PLUGIN_GATEWAY first", all)
	}
	for _, s := range all {
		if s.Help == "" || !strings.HasPrefix(s.Name, "PLUGIN_") {
			t.Errorf("setting: got %+v, want help and a name that starts with PLUGIN_", s)
		}
	}
}
