package drone

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"slipway/plugin/engine/pipeline"
)

// A document is the pipeline that Drone runs for a build. It has one step and no clone, because the
// runner fetches the build's commit itself.
// https://docs.drone.io/pipeline/overview/
type document struct {
	Kind     string            `yaml:"kind"`
	Type     string            `yaml:"type"`
	Name     string            `yaml:"name"`
	Platform platform          `yaml:"platform"`
	Node     map[string]string `yaml:"node,omitempty"`
	Clone    clone             `yaml:"clone"`
	Trigger  trigger           `yaml:"trigger"`
	Steps    []step            `yaml:"steps"`
}

type platform struct {
	OS   string `yaml:"os"`
	Arch string `yaml:"arch"`
}

type clone struct {
	Disable bool `yaml:"disable"`
}

// A trigger limits our pipeline to builds started by API. Promotions restart our pipeline with its
// parameters, but are not our builds. Without a trigger, pushes would run it as well.
type trigger struct {
	Event []string `yaml:"event"`
}

// A step is a plugin (image and settings) on runners with containers, so that Drone can grant
// privileges by the name of its image. The exec runner supports only commands and environment.
type step struct {
	Name        string         `yaml:"name"`
	Image       string         `yaml:"image,omitempty"`
	Pull        string         `yaml:"pull,omitempty"`
	Settings    map[string]any `yaml:"settings,omitempty"`
	Environment map[string]any `yaml:"environment,omitempty"`
	Commands    []string       `yaml:"commands,omitempty"`
}

type fromSecret struct {
	Name string `yaml:"from_secret"`
}

// A secretDocument declares the secret: Drone requests only declared secrets from the extension.
type secretDocument struct {
	Kind string    `yaml:"kind"`
	Name string    `yaml:"name"`
	Get  secretRef `yaml:"get"`
}

type secretRef struct {
	Path string `yaml:"path"`
	Name string `yaml:"name"`
}

// The reference of the runner's token in requests to the secret extension.
const (
	secretPath = "slipway"
	secretName = "runner_token"
)

// buildConfig returns the configuration of a build. Drone replaces ${...} and $$ in the whole text, so
// that each $ is doubled.
func (e *Engine) buildConfig(buildID string) (string, error) {
	system, arch, _ := strings.Cut(e.o.Platform, "/")
	main, err := yaml.Marshal(document{
		Kind: "pipeline", Type: e.o.Type, Name: "slipway", Platform: platform{system, arch}, Node: e.o.Step.Labels,
		Clone: clone{
			Disable: true,
		}, Trigger: trigger{[]string{event}}, Steps: []step{newStep(e.o.Type, e.o.Step, buildID)},
	})
	if err != nil {
		return "", fmt.Errorf("write the pipeline: %w", err)
	}
	further, err := yaml.Marshal(
		secretDocument{Kind: "secret", Name: pipeline.TokenSecret, Get: secretRef{secretPath, secretName}},
	)
	if err != nil {
		return "", fmt.Errorf("write the secret: %w", err)
	}
	return strings.ReplaceAll(string(main)+"---\n"+string(further), "$", "$$"), nil
}

func newStep(kind string, s pipeline.Step, buildID string) step {
	prefix, values := "", map[string]any{}
	if kind == TypeExec {
		prefix = "SLIPWAY_"
	}
	set := func(name string, value any) {
		if prefix != "" {
			name = prefix + strings.ToUpper(name)
		}
		values[name] = value
	}
	set("runner_url", s.RunnerURL(buildID))
	set("runner_token", fromSecret{pipeline.TokenSecret})
	set("runner_hooks", "on")
	if s.Builder != "" {
		set("builder", s.Builder)
	}
	if kind == TypeExec {
		return step{Name: "build", Environment: values, Commands: []string{"exec " + s.Image + " runner"}}
	}
	return step{Name: "build", Image: s.Image, Pull: "if-not-exists", Settings: values}
}
