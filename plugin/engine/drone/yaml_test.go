package drone_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/pipeline"
)

const head = `kind: pipeline
type: %TYPE%
name: slipway
platform:
  os: linux
  arch: amd64
`

const middle = `clone:
  disable: true
trigger:
  event:
  - custom
steps:
- name: build
`

const tail = `---
kind: secret
name: slipway_runner_token
get:
  path: slipway
  name: runner_token
`

// Options appear as plain values, whatever characters they contain, and each $ is doubled.
func TestConfigurations(t *testing.T) {
	url := func(string) string { return "https://gw.example/runner/v1/builds/b1" }
	odd := pipeline.Step{
		URL:   func(string) string { return "https://gw.example/$HOME/${PATH}/$$" },
		Image: "registry.example/slipway:1 # no", Builder: "tcp://b: {x}\n- y",
		Labels: map[string]string{"disk": "on", "zone": "1"},
	}
	for name, c := range map[string]struct {
		kind string
		step pipeline.Step
		want string
	}{
		"docker": {drone.TypeDocker, pipeline.Step{
			URL: url, Image: "registry.example/slipway:1",
		}, head + middle + `  image: registry.example/slipway:1
  pull: if-not-exists
  settings:
    runner_hooks: "on"
    runner_token:
      from_secret: slipway_runner_token
    runner_url: https://gw.example/runner/v1/builds/b1
` + tail},
		"kubernetes with odd values": {drone.TypeKubernetes, odd, head + `node:
  disk: "on"
  zone: "1"
` + middle + `  image: "registry.example/slipway:1 # no"
  pull: if-not-exists
  settings:
    builder: "tcp://b: {x}\n- y"
    runner_hooks: "on"
    runner_token:
      from_secret: slipway_runner_token
    runner_url: https://gw.example/$$HOME/$${PATH}/$$$$
` + tail},
		"exec": {drone.TypeExec, pipeline.Step{
			URL: url, Image: "/usr/local/bin/slipway", Builder: "tcp://builder:8372",
		}, head + middle + `  environment:
    SLIPWAY_BUILDER: tcp://builder:8372
    SLIPWAY_RUNNER_HOOKS: "on"
    SLIPWAY_RUNNER_TOKEN:
      from_secret: slipway_runner_token
    SLIPWAY_RUNNER_URL: https://gw.example/runner/v1/builds/b1
  commands:
  - exec /usr/local/bin/slipway runner
` + tail},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, drone.Options{Repository: "acme/builder", Type: c.kind, Step: c.step})
			e.server.Hold()
			e.server.AddRepository("acme/builder", "main")
			_, body := send(t, e.requestFor(t, "config", "app").request(t, e.gateway))
			var config struct{ Data, Kind string }
			if err := json.Unmarshal([]byte(body), &config); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if diff := cmp.Diff(strings.Replace(c.want, "%TYPE%", c.kind, 1), config.Data); diff != "" {
				t.Errorf("config (-want +got)\n%s", diff)
			}
			if config.Kind != "pipeline" {
				t.Errorf("kind: got %q, want pipeline", config.Kind)
			}
		})
	}
}

// Values reach the step unchanged by Drone's substitution, also as settings of a plugin.
func TestAPluginStepGetsItsSettings(t *testing.T) {
	const url = "https://gw.example/$HOME/${SLIPWAY_BUILD}/$$/a'b\"c"
	e := newEnv(t, drone.Options{Repository: "acme/builder", Type: drone.TypeDocker, Step: pipeline.Step{
		URL: func(string) string { return url }, Builder: "tcp://b",
		Image: script(
			t,
			`echo "$PLUGIN_RUNNER_URL|$PLUGIN_BUILDER|$PLUGIN_RUNNER_HOOKS|`+
				`${#PLUGIN_RUNNER_TOKEN}|$PLUGIN_RUNNER_TOKEN"`,
		),
	}})
	r := e.server.AddRepository("acme/builder", "main")
	e.started(t)
	status := e.waitFinished(t, r, 1)
	if log := strings.TrimSpace(e.server.Log(r, 1)); status != "success" || log != url+"|tcp://b|on|43|[secret]" {
		t.Errorf("build: got status %s and log %s, want success and the parameters", status, log)
	}
}
