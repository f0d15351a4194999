package drone

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"slipway/plugin/engine/pipeline"
)

// A document is what Drone runs for a build: one step, on a workspace without a clone, for the
// runner fetches the build's commit itself. https://docs.drone.io/pipeline/overview/
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

// Promotions restart our pipeline with its parameters and are none of ours; without them the
// trigger would be for pushes too.
type trigger struct {
	Event []string `yaml:"event"`
}

// A step is a plugin (image and settings) where there are containers, so that Drone may give it
// privilege by its image's name. The exec runner knows commands and environment only.
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

// secretDocument declares the secret: Drone asks its extension for declared ones only.
type secretDocument struct {
	Kind string `yaml:"kind"`
	Name string `yaml:"name"`
	Get  place  `yaml:"get"`
}

type place struct {
	Path string `yaml:"path"`
	Name string `yaml:"name"`
}

// The place of the runner's token, which the secret extension is asked for.
const (
	secretPath = "slipway"
	secretName = "runner_token"
)

// yamlOf is the configuration of a build. Drone replaces ${…} and $$ in all of it, so each $
// is doubled.
func (e *Engine) yamlOf(buildID string) (string, error) {
	system, arch, _ := strings.Cut(e.o.Platform, "/")
	main, err := yaml.Marshal(document{
		Kind: "pipeline", Type: e.o.Type, Name: "slipway", Platform: platform{system, arch}, Node: e.o.Step.Labels,
		Clone: clone{Disable: true}, Trigger: trigger{[]string{event}}, Steps: []step{stepOf(e.o.Type, e.o.Step, buildID)},
	})
	if err != nil {
		return "", fmt.Errorf("write the pipeline: %w", err)
	}
	further, err := yaml.Marshal(secretDocument{Kind: "secret", Name: pipeline.TokenSecret, Get: place{secretPath, secretName}})
	if err != nil {
		return "", fmt.Errorf("write the secret: %w", err)
	}
	return strings.ReplaceAll(string(main)+"---\n"+string(further), "$", "$$"), nil
}

func stepOf(kind string, s pipeline.Step, buildID string) step {
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
