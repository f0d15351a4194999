package dronetest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/drone/drone-go/drone"
	"github.com/goccy/go-yaml"
)

// A document is the part of a configuration that this runner supports.
type document struct {
	Kind  string `yaml:"kind"`
	Type  string `yaml:"type"`
	Name  string `yaml:"name"`
	Clone struct {
		Disable bool `yaml:"disable"`
	} `yaml:"clone"`
	Platform struct {
		OS   string `yaml:"os"`
		Arch string `yaml:"arch"`
	} `yaml:"platform"`
	Node    map[string]string `yaml:"node"`
	Trigger struct {
		Event []string `yaml:"event"`
	} `yaml:"trigger"`
	Steps []struct {
		Name        string         `yaml:"name"`
		Image       string         `yaml:"image"`
		Pull        string         `yaml:"pull"`
		Settings    map[string]any `yaml:"settings"`
		Environment map[string]any `yaml:"environment"`
		Commands    []string       `yaml:"commands"`
	} `yaml:"steps"`
	Get struct {
		Path string `yaml:"path"`
		Name string `yaml:"name"`
	} `yaml:"get"`
}

type documents []document

// A command is a step to run: a script, or the program that stands for an image.
type command struct {
	script  string
	image   string
	environ map[string]string
	secrets map[string][2]string // variable → path and name
}

// parse reads all documents of a configuration. The server parses the original text; the runner
// parses it after the substitution of variables.
func parse(text string) (documents, error) {
	var all documents
	for part := range strings.SplitSeq(text, "\n---\n") {
		var d document
		if err := yaml.UnmarshalWithOptions([]byte(part), &d, yaml.Strict()); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, all.lint()
}

// substitute replaces ${NAME} in a configuration, and $$ by $.
func substitute(text string, values map[string]string) string {
	return regexp.MustCompile(`\$\$|\$\{[^}]*\}`).ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return "$"
		}
		return values[found[2:len(found)-1]]
	})
}

func (all documents) lint() error {
	for _, d := range all {
		if d.Kind != "pipeline" {
			continue
		}
		for _, s := range d.Steps {
			if s.Name == "" || (s.Image != "") == (d.Type == "exec") {
				return errors.New("linter: invalid or missing step name or image")
			}
		}
	}
	return nil
}

func (all documents) runsOn(event string) bool {
	for _, d := range all {
		if d.Kind == "pipeline" && (len(d.Trigger.Event) == 0 || slices.Contains(d.Trigger.Event, event)) {
			return true
		}
	}
	return false
}

// plan converts the steps to commands. The caller holds the server's lock.
func (b *build) plan(all documents) {
	declared := map[string][2]string{}
	for _, d := range all {
		if d.Kind == "secret" {
			declared[d.Name] = [2]string{d.Get.Path, d.Get.Name}
		}
	}
	b.kind = all[0].Type
	stage := &drone.Stage{Number: 1, Name: all[0].Name, Kind: "pipeline", Type: b.kind, Status: drone.StatusPending}
	for _, s := range all[0].Steps {
		c := command{image: s.Image, environ: map[string]string{}, secrets: map[string][2]string{}}
		c.script = scriptOf(s.Commands)
		c.set("", s.Environment, declared)
		c.set("PLUGIN_", s.Settings, declared)
		b.steps = append(b.steps, c)
		b.lines, b.over = append(b.lines, nil), append(b.over, false)
		stage.Steps = append(stage.Steps, &drone.Step{Number: len(b.steps), Name: s.Name, Status: drone.StatusPending})
	}
	b.Stages = []*drone.Stage{stage}
}

// set adds variables, some of which refer to secrets. An undeclared secret has an empty reference.
func (c *command) set(prefix string, values map[string]any, declared map[string][2]string) {
	for name, value := range values {
		if prefix != "" {
			name = prefix + strings.ToUpper(name)
		}
		if from, ok := value.(map[string]any); ok {
			c.secrets[name] = declared[fmt.Sprint(from["from_secret"])]
		} else {
			c.environ[name] = fmt.Sprint(value)
		}
	}
}

// scriptOf returns a script that prints each command before it runs it.
func scriptOf(commands []string) string {
	script := []string{"set -e"}
	for _, line := range commands {
		script = append(script, "echo + "+strings.ReplaceAll(fmt.Sprintf("%q", line), "$", `\$`), line)
	}
	return strings.Join(script, "\n") + "\n"
}
