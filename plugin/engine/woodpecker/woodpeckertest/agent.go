package woodpeckertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

// A configuration is the part of a workflow file that this agent supports.
type configuration struct {
	When []struct {
		Event string `yaml:"event"`
	} `yaml:"when"`
	SkipClone bool              `yaml:"skip_clone"`
	Labels    map[string]string `yaml:"labels"`
	Steps     []struct {
		Name     string         `yaml:"name"`
		Image    string         `yaml:"image"`
		Settings map[string]any `yaml:"settings"`
		Commands []string       `yaml:"commands"`
	} `yaml:"steps"`
}

// A command is a step to run.
type command struct {
	args    []string
	environ []string
	secrets []string // values that the log masks
}

// parse reads a configuration and replaces $$ by $. Unlike Woodpecker it does not substitute
// ${...}.
func parse(text string) (configuration, error) {
	var c configuration
	text = strings.ReplaceAll(text, "$$", "$")
	err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict())
	if err == nil && text != "" && len(c.Steps) == 0 {
		err = errors.New("missing required section: steps")
	}
	return c, err
}

func (c configuration) runsOn(event string) bool {
	for _, when := range c.When {
		if when.Event == event {
			return true
		}
	}
	return len(c.When) == 0
}

// compile converts steps to commands. A plugin is its program without arguments, with the settings
// as variables. Other steps are a shell with commands.
func (c configuration) compile(o Options, secrets map[string]string) ([]*step, error) {
	var steps []*step
	for _, s := range c.Steps {
		run := command{args: []string{o.Program(s.Image)}, environ: slices.Clone(o.Environ)}
		run.environ = append(run.environ, "CI=woodpecker", "CI_SYSTEM_NAME=woodpecker")
		if len(s.Commands) > 0 {
			run.args = []string{"/bin/sh", "-e", "-c", strings.Join(s.Commands, "\n")}
		}
		for name, value := range s.Settings {
			text := fmt.Sprint(value)
			if from, ok := value.(map[string]any); ok {
				if text, ok = secrets[fmt.Sprint(from["from_secret"])]; !ok {
					return nil, fmt.Errorf("secret %q not found", from["from_secret"])
				}
				run.secrets = append(run.secrets, text)
			}
			run.environ = append(run.environ, "PLUGIN_"+strings.ToUpper(name)+"="+text)
		}
		steps = append(steps, &step{Name: s.Name, State: "pending", run: run})
	}
	return steps, nil
}

// dispatch passes queued pipelines to the agent, in order, up to its capacity.
func (s *Server) dispatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.busy < s.o.Capacity && !s.held && s.ctx.Err() == nil {
		p := s.queue[0]
		s.queue = s.queue[1:]
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(p.repo.settings.Timeout)*s.o.Minute)
		p.Status, p.Started, p.cancel = "running", time.Now().Unix(), cancel
		s.busy++
		s.running.Add(1)
		go s.run(ctx, p)
	}
}

func (s *Server) run(ctx context.Context, p *Pipeline) {
	defer s.running.Done()
	status := "success"
	for _, one := range p.Workflows[0].Children {
		if status != "success" {
			break
		}
		if code, lines, err := runStep(ctx, one.run); code != 0 || err != nil {
			status = "failure"
			s.note(one, code, lines, err)
		} else {
			s.note(one, 0, lines, nil)
		}
	}
	s.mu.Lock()
	timedOut := errors.Is(ctx.Err(), context.DeadlineExceeded)
	p.cancel()
	p.Finished = time.Now().Unix()
	switch {
	case p.Status != "running": // it was killed
	case timedOut: // the times are those of real minutes
		p.Status, p.Finished = "killed", p.Started+60*p.repo.settings.Timeout
	default:
		p.Status = status
	}
	p.Workflows[0].State = p.Status
	s.busy--
	s.mu.Unlock()
	s.dispatch()
}

func (s *Server) note(one *step, code int, lines []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.State, one.ExitCode, one.lines = "success", code, lines
	if code != 0 || err != nil {
		one.State = "failure"
	}
	if err != nil {
		one.Error = err.Error()
	}
}

// runStep runs a step in its own empty workspace. A cancel kills the process group.
func runStep(ctx context.Context, run command) (code int, lines []string, err error) {
	dir, err := os.MkdirTemp("", "woodpecker-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, run.args[0], run.args[1:]...)
	cmd.Dir, cmd.Env = dir, append(run.environ, "CI_WORKSPACE="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	for _, hidden := range run.secrets {
		if hidden != "" {
			out = bytes.ReplaceAll(out, []byte(hidden), []byte("********"))
		}
	}
	lines = strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), lines, nil
	}
	return 0, lines, err
}

// stop ends a pending or running pipeline. The status is canceled if it had not started, otherwise killed.
// The caller holds the server's lock.
func (s *Server) stop(p *Pipeline, cause *CancelInfo) bool {
	switch p.Status {
	case "pending":
		p.Status, p.Canceled = "canceled", cause
		s.queue = slices.DeleteFunc(s.queue, func(q *Pipeline) bool { return q == p })
	case "running":
		p.Status, p.Canceled = "killed", cause
		p.cancel()
	default:
		return false
	}
	return true
}

// cancelPipeline stops a pipeline for a user.
func (s *Server) cancelPipeline(w http.ResponseWriter, r *http.Request, login string, repo *Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pipeline(r, repo)
	switch {
	case p == nil:
		w.WriteHeader(http.StatusNotFound)
	case s.stop(p, &CancelInfo{ByUser: login}):
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "Cannot cancel a non-running or non-pending or non-blocked pipeline", http.StatusBadRequest)
	}
}

// cancelPrevious stops the older pipelines of a new one's event, if the repository is set so. The caller
// holds the server's lock.
func (s *Server) cancelPrevious(r *Repository, newest *Pipeline) {
	if !slices.Contains(r.settings.CancelPrevious, newest.Event) {
		return
	}
	for _, p := range r.pipelines {
		if p != newest && p.Event == newest.Event && (p.Event != "push" || p.Branch == newest.Branch) {
			s.stop(p, &CancelInfo{SupersededBy: newest.Number})
		}
	}
}

// RestartAgent ends the running pipelines without a cause, as an agent does that gets SIGTERM.
func (s *Server) RestartAgent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		for _, p := range r.pipelines {
			if p.Status == "running" {
				s.stop(p, nil)
			}
		}
	}
}
