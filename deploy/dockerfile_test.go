package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/opencontainers/go-digest"

	"slipway/runner/ci"
	"slipway/runner/ci/citest"
	"slipway/runner/settings"
)

// bare returns a configuration for base images without a request to their registry.
type bare struct{}

func (bare) ResolveImageConfig(
	_ context.Context,
	ref string,
	_ sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	config := []byte(
		`{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/bin"]},"rootfs":{"type":"layers"}}`,
	)
	return ref, digest.FromBytes(config), config, nil
}

// convert converts a target of the Dockerfile with BuildKit, and returns its image's configuration.
func convert(t *testing.T, target string) (config string, err error) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), text, dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{Target: target, BuildArgs: map[string]string{"VERSION": "1.2"}}, MetaResolver: bare{},
	})
	if err != nil {
		return "", err
	}
	if _, err := result.State.Marshal(t.Context()); err != nil {
		return "", err
	}
	image, err := json.Marshal(result.Image.Config)
	return string(image), err
}

func TestDockerfileHasItsTargets(t *testing.T) {
	for target, command := range map[string]string{"gateway": "gateway", "runner": "runner", "all-in-one": "gateway"} {
		config, err := convert(t, target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if !strings.Contains(config, `"Entrypoint":["slipway"]`) ||
			!strings.Contains(config, fmt.Sprintf(`"Cmd":[%q]`, command)) {
			t.Errorf("%s: got %s, want that it runs slipway %s", target, config, command)
		}
	}
	if _, err := convert(t, "no-such-target"); err == nil {
		t.Error("an unknown target: got no error, want one")
	}
}

type fixed []string

func (e fixed) Environ() []string     { return e }
func (e fixed) Unsetenv(string) error { return nil }

func TestOwnPipelineBuildsOurImage(t *testing.T) {
	const commit = "0123456e78901111111111111111111111111111" // begins like a number
	text, err := os.ReadFile("../.drone.yml")
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{"": "latest,0123456e7890 main-0123456e7890", "1.10": "1.10,0123456e7890 1.10-0123456e7890"} {
		var pipeline struct {
			Steps []struct {
				Name       string
				Privileged bool
				Settings   map[string]any
			}
		}
		expanded, err := citest.Expand(string(text), map[string]string{"DRONE_TAG": tag, "DRONE_COMMIT_SHA": commit})
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(expanded), &pipeline); err != nil {
			t.Fatal(err)
		}
		step := pipeline.Steps[len(pipeline.Steps)-1]
		given := citest.Step{
			CI:       ci.Drone,
			Settings: step.Settings,
			Secrets: map[string]string{
				"slipway_image":             "registry.example.com/tools/slipway",
				"slipway_registry_username": "ci",
				"slipway_registry_password": "canary",
			},
		}
		environ, err := given.Environ()
		if err != nil {
			t.Fatal(err)
		}
		s, err := settings.ReadPlugin(fixed(environ))
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		if got := strings.Join(s.Tags, ",") + " " + s.BuildArgs["VERSION"]; got != want {
			t.Errorf("tag %q: got %s, want %s", tag, got, want)
		}
		if s.LoginFor(s.Image()).Anonymous() || !step.Privileged {
			t.Errorf("step: got %+v, want a login and privileged", s)
		}
		if _, err := convert(t, s.Target); err != nil {
			t.Errorf("target %q: %v", s.Target, err)
		}
	}
}
