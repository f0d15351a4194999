package dronetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
	"github.com/goccy/go-yaml"
)

// A document is as much of a configuration as the runner understands.
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
	Trigger struct {
		Event []string `yaml:"event"`
	} `yaml:"trigger"`
	Steps []struct {
		Name        string         `yaml:"name"`
		Image       string         `yaml:"image"`
		Environment map[string]any `yaml:"environment"`
		Commands    []string       `yaml:"commands"`
	} `yaml:"steps"`
	Get struct {
		Path string `yaml:"path"`
		Name string `yaml:"name"`
	} `yaml:"get"`
}

type documents []document

// A command is a step to run.
type command struct {
	script  string
	environ map[string]string
	secrets map[string][2]string // variable → path and name
}

// parse reads all documents of a text, its variables replaced as Drone does: ${…} by nothing
// that the fake knows, $$ by $.
func parse(text string) (documents, error) {
	text = regexp.MustCompile(`\$\$|\$\{[^}]*\}`).ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return "$"
		}
		return ""
	})
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

func (all documents) lint() error {
	for _, d := range all {
		if d.Kind != "pipeline" {
			continue
		}
		if d.Type != "exec" {
			return fmt.Errorf("linter: the runner is for type exec, not %q", d.Type)
		}
		for _, s := range d.Steps {
			if s.Image != "" || s.Name == "" {
				return errors.New("linter: invalid or missing step name, or an image")
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

// plan makes commands of the steps. The caller holds the server's lock.
func (b *build) plan(all documents) {
	declared := map[string][2]string{}
	for _, d := range all {
		if d.Kind == "secret" {
			declared[d.Name] = [2]string{d.Get.Path, d.Get.Name}
		}
	}
	stage := &drone.Stage{Number: 1, Name: "slipway", Status: drone.StatusPending}
	for _, s := range all[0].Steps {
		c := command{environ: map[string]string{}, secrets: map[string][2]string{}}
		script := []string{"set -e"}
		for _, line := range s.Commands {
			script = append(script, "echo + "+strings.ReplaceAll(fmt.Sprintf("%q", line), "$", `\$`), line)
		}
		c.script = strings.Join(script, "\n") + "\n"
		for name, value := range s.Environment {
			if from, ok := value.(map[string]any); ok {
				c.secrets[name] = declared[fmt.Sprint(from["from_secret"])]
			} else {
				c.environ[name] = fmt.Sprint(value)
			}
		}
		b.steps = append(b.steps, c)
		b.lines, b.over = append(b.lines, nil), append(b.over, false)
		stage.Steps = append(stage.Steps, &drone.Step{Number: len(b.steps), Name: s.Name, Status: drone.StatusPending})
	}
	b.Stages = []*drone.Stage{stage}
}

// dispatch hands builds to the runner, in order, as far as it has places.
func (s *Server) dispatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.busy < s.o.Capacity && !s.held && s.ctx.Err() == nil {
		b := s.queue[0]
		s.queue = s.queue[1:]
		ctx, cancel := context.WithCancel(s.ctx)
		b.Status, b.cancel = drone.StatusRunning, cancel
		s.busy++
		s.running.Add(1)
		go s.run(ctx, b)
	}
}

func (s *Server) run(ctx context.Context, b *build) {
	defer s.running.Done()
	s.tell(b.repo, "updated", s.shown(b))
	status := drone.StatusPassing
	for i, c := range b.steps {
		if status != drone.StatusPassing {
			break
		}
		code, lines := s.runStep(ctx, b, c)
		s.mu.Lock()
		step := b.Stages[0].Steps[i]
		b.lines[i], b.over[i], step.ExitCode, step.Status = lines, true, code, drone.StatusPassing
		if code != 0 {
			status, step.Status = drone.StatusFailing, drone.StatusFailing
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	b.cancel()
	if b.Status == drone.StatusRunning { // else it was killed
		b.Status = status
	}
	b.Stages[0].Status, b.Finished = b.Status, time.Now().Unix()
	s.busy--
	s.mu.Unlock()
	s.tell(b.repo, "updated", s.shown(b))
	s.dispatch()
}

func (s *Server) shown(b *build) *drone.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.shown()
}

// runStep runs one as the exec runner does: a script by sh, in an empty workspace, with the
// build's parameters below the step's own variables. A cancel kills the sh alone.
func (s *Server) runStep(ctx context.Context, b *build, c command) (int, []string) {
	dir, err := os.MkdirTemp("", "drone-")
	if err != nil {
		return 255, []string{err.Error()}
	}
	defer os.RemoveAll(dir)
	environ := slices.Clone(s.o.Environ)
	for name, value := range b.Params {
		environ = append(environ, name+"="+value)
	}
	environ = append(environ, "CI=true", "DRONE=true", "HOME="+dir, "DRONE_WORKSPACE="+dir)
	for name, value := range c.environ {
		environ = append(environ, name+"="+value)
	}
	var hidden []string
	for name, place := range c.secrets {
		value := ""
		if place[1] != "" {
			value = s.secretOf(ctx, b, place[0], place[1])
		}
		environ, hidden = append(environ, name+"="+value), append(hidden, value)
	}
	script := filepath.Join(dir, "step")
	if err := os.WriteFile(script, []byte(c.script), 0o600); err != nil {
		return 255, []string{err.Error()}
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", script) //nolint:gosec // what the test's configuration says
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, environ, time.Second
	out, err := cmd.CombinedOutput()
	for _, value := range hidden {
		if value != "" {
			out = bytes.ReplaceAll(out, []byte(value), []byte("[secret:slipway_runner_token]"))
		}
	}
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = 255
	}
	return code, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// kill stops a build. One that is over is no error.
func (s *Server) kill(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	b := s.build(w, r, repo)
	if b == nil {
		s.mu.Unlock()
		return
	}
	switch b.Status {
	case drone.StatusPending:
		b.Status = drone.StatusKilled
		s.queue = slices.DeleteFunc(s.queue, func(q *build) bool { return q == b })
	case drone.StatusRunning:
		b.Status = drone.StatusKilled
		if !s.lostCancel {
			b.cancel()
		}
	}
	shown := b.shown()
	s.mu.Unlock()
	s.tell(repo, "updated", shown)
	answer(w, shown)
}
