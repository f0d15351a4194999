// Package citest converts a step of a pipeline to the environment of the step's program, as Drone and
// Woodpecker do. Only tests use it.
package citest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/drone/envsubst"

	"slipway/runner/ci"
)

// A Step is a plugin step of a pipeline.
type Step struct {
	CI          string // ci.Drone or ci.Woodpecker
	Settings    map[string]any
	Environment map[string]string
	Secrets     map[string]string // the repository's secrets by name
}

// Expand replaces the variables in a pipeline's text. Both CIs do this before they parse it.
// https://docs.drone.io/pipeline/environment/substitution/
func Expand(text string, variables map[string]string) (string, error) {
	return envsubst.Eval(text, func(name string) string { return variables[name] })
}

// Environ returns the variables that the CI derives from the step, as NAME=value, sorted. It fails if
// the step uses a secret that does not exist.
func (s Step) Environ() ([]string, error) {
	all := maps.Clone(s.Environment)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range s.Settings {
		if value == nil {
			continue
		}
		value, err := s.reveal(value, true)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		text, err := encode(value)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", name, err)
		}
		all[s.variable(name)] = text
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, name+"="+all[name])
	}
	return lines, nil
}

// variable returns the variable of a setting, as PLUGIN_BUILD_ARGS for build_args. Drone keeps a
// hyphen; Woodpecker replaces hyphens and dots by underscores.
// https://github.com/drone-runners/drone-runner-docker/blob/master/engine/compiler/step.go
// https://github.com/woodpecker-ci/woodpecker/blob/main/pipeline/frontend/yaml/compiler/settings/params.go
func (s Step) variable(setting string) string {
	if s.CI == ci.Woodpecker {
		setting = strings.NewReplacer(".", "_", "-", "_").Replace(setting)
	}
	return "PLUGIN_" + strings.ToUpper(setting)
}

// reveal replaces from_secret by the secret's value: in Woodpecker at any depth, in Drone only if it
// is the whole setting.
func (s Step) reveal(value any, whole bool) (any, error) {
	deep := s.CI == ci.Woodpecker
	switch value := value.(type) {
	case map[string]any:
		if name, ok := value["from_secret"].(string); ok && (whole || deep) {
			text, found := s.Secrets[name]
			if !found {
				return nil, fmt.Errorf("there is no secret %q", name)
			}
			return text, nil
		}
		all := map[string]any{}
		for key, one := range value {
			revealed, err := s.reveal(one, false)
			if err != nil {
				return nil, err
			}
			all[key] = revealed
		}
		return all, nil
	case []any:
		all := make([]any, len(value))
		for i, one := range value {
			revealed, err := s.reveal(one, false)
			if err != nil {
				return nil, err
			}
			all[i] = revealed
		}
		return all, nil
	}
	return value, nil
}

// encode returns the text of a setting's value: words unchanged, lists of words joined by commas, and
// other values as JSON.
// https://github.com/drone-runners/drone-runner-docker/blob/master/engine/compiler/encoder/encoder.go
func encode(value any) (string, error) {
	if text, ok := word(value); ok {
		return text, nil
	}
	if list, ok := value.([]any); ok {
		words := make([]string, len(list))
		plain := true
		for i, one := range list {
			text, ok := word(one)
			words[i], plain = text, plain && ok
		}
		if plain {
			return strings.Join(words, ","), nil
		}
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// word returns the text of a value that is neither a list nor a map.
func word(value any) (text string, ok bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64), true
	case []any, map[string]any:
		return "", false
	}
	return fmt.Sprint(value), true
}
