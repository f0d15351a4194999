package woodpecker

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"slipway/plugin/engine/pipeline"
)

// workflowName is the name of our workflow.
const workflowName = "slipway"

// A workflow is the pipeline that Woodpecker runs for a build. It has one step and no clone,
// because the runner fetches the build's commit itself. The step is a plugin: it has only settings.
// Woodpecker can grant privileges to a plugin by the name of its image, and passes no variables to
// it.
// https://woodpecker-ci.org/docs/usage/workflow-syntax
type workflow struct {
	When      []condition       `yaml:"when"`
	Labels    map[string]string `yaml:"labels,omitempty"`
	SkipClone bool              `yaml:"skip_clone"`
	Steps     []step            `yaml:"steps"`
}

type condition struct {
	Event string `yaml:"event"`
}

type step struct {
	Name     string   `yaml:"name"`
	Image    string   `yaml:"image"`
	Settings settings `yaml:"settings"`
}

type settings struct {
	URL     string     `yaml:"runner_url"`
	Token   fromSecret `yaml:"runner_token"`
	Hooks   string     `yaml:"runner_hooks"`
	Builder string     `yaml:"builder,omitempty"`
}

type fromSecret struct {
	Name string `yaml:"from_secret"`
}

// workflowYAML returns the workflow of a build.
func workflowYAML(s pipeline.Step, buildID string) (string, error) {
	text, err := yaml.Marshal(workflow{
		When: []condition{{Event: event}}, Labels: s.Labels, SkipClone: true,
		Steps: []step{{
			Name: "build", Image: s.Image,
			Settings: settings{
				URL:     s.RunnerURL(buildID),
				Token:   fromSecret{pipeline.TokenSecret},
				Hooks:   "on",
				Builder: s.Builder,
			},
		}},
	})
	if err != nil {
		return "", fmt.Errorf("write the workflow: %w", err)
	}
	return strings.ReplaceAll(string(text), "$", "$$"), nil // Woodpecker substitutes ${...}
}
