package dronetest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drone/drone-go/drone"
)

// dispatch passes queued builds to the runner, in order, up to its capacity.
func (s *Server) dispatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.busy < s.o.Capacity && !s.held && s.ctx.Err() == nil {
		next := slices.IndexFunc(s.queue, s.takes)
		if next < 0 {
			return
		}
		b := s.queue[next]
		s.queue = slices.Delete(s.queue, next, next+1)
		ctx, cancel := context.WithTimeout(s.ctx, time.Duration(b.repo.Timeout)*s.o.Minute)
		b.Status, b.cancel = drone.StatusRunning, cancel
		b.Version++
		b.Started = time.Now().Unix()
		b.Stages[0].Status, b.Stages[0].Started, b.Stages[0].Machine = drone.StatusRunning, b.Started, "runner-1"
		s.busy++
		s.running.Add(1)
		go s.run(ctx, b)
	}
}

// takes reports whether there is a runner for a build. Without one the build waits.
func (s *Server) takes(b *build) bool { return b.kind == "exec" || s.o.Program != nil }

func (s *Server) run(ctx context.Context, b *build) {
	defer s.running.Done()
	s.sendWebhook(b.repo, "updated", s.shown(b))
	status := drone.StatusPassing
	for i, c := range b.steps {
		if status != drone.StatusPassing {
			break
		}
		code, lines := s.runStep(ctx, b, c)
		s.mu.Lock()
		step := b.Stages[0].Steps[i]
		b.lines[i], b.over[i] = lines, true
		ended := drone.StatusPassing
		if code != 0 {
			status, ended = drone.StatusFailing, drone.StatusFailing
		}
		if ctx.Err() == nil { // otherwise the step was killed
			step.ExitCode, step.Status = code, ended
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.finish(ctx, b, status)
	s.busy--
	s.mu.Unlock()
	s.sendWebhook(b.repo, "updated", s.shown(b))
	close(b.ended)
	s.dispatch()
}

// finish stores the end of a build as its runner reports it, unless the server has canceled it. The caller
// holds the server's lock.
func (s *Server) finish(ctx context.Context, b *build, status string) {
	timedOut := errors.Is(ctx.Err(), context.DeadlineExceeded)
	b.cancel()
	stage := b.Stages[0]
	if b.Status == drone.StatusKilled {
		stage.Status = b.Status
		return
	}
	b.Finished = time.Now().Unix()
	switch {
	case timedOut: // the times are those of real minutes
		b.Finished = b.Started + 60*b.repo.Timeout
		status = drone.StatusKilled
	case b.restarted:
		status = drone.StatusKilled
	}
	b.Version++
	b.Status, stage.Status, stage.Stopped = status, status, b.Finished
	for _, step := range stage.Steps {
		if status == drone.StatusKilled && step.Status != drone.StatusPassing {
			step.Status, step.ExitCode = drone.StatusKilled, 137
		}
	}
}

// RestartRunner ends the running builds without a cause, as a runner may that is stopped. Drone's own
// runners finish their builds first, and report nothing if they are killed.
func (s *Server) RestartRunner() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		for _, b := range r.builds {
			if b.Status == drone.StatusRunning {
				b.restarted = true
				b.cancel()
			}
		}
	}
}

func (s *Server) shown(b *build) *drone.Build {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.shown()
}

// runStep runs a step like the exec runner: a script with sh in an empty workspace. For a step with
// an image it runs the program that stands for the image. A cancel kills only that process.
func (s *Server) runStep(ctx context.Context, b *build, c command) (int, []string) {
	dir, err := os.MkdirTemp("", "drone-")
	if err != nil {
		return 255, []string{err.Error()}
	}
	defer os.RemoveAll(dir)
	environ, hidden := s.environ(ctx, b, c, dir)
	script := filepath.Join(dir, "step")
	if err := os.WriteFile(script, []byte(c.script), 0o600); err != nil {
		return 255, []string{err.Error()}
	}
	argv := []string{"/bin/sh", "-e", script}
	if c.image != "" {
		argv = s.o.Program(c.image)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, environ, time.Second
	out, err := cmd.CombinedOutput()
	for _, value := range hidden {
		if value != "" {
			out = bytes.ReplaceAll(out, []byte(value), []byte("[secret]"))
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

// environ returns the environment of a step, and the secrets in it. The last value of a name
// counts. The order is: the runner's environment, the build's parameters, Drone's constants, the
// step's variables, Drone's variables of the build, secrets. So a parameter can change PATH and a
// step HOME, but neither can change the build's number.
func (s *Server) environ(ctx context.Context, b *build, c command, dir string) (environ, hidden []string) {
	environ = slices.Clone(s.o.Environ)
	add := func(values map[string]string) {
		for name, value := range values {
			environ = append(environ, name+"="+value)
		}
	}
	add(b.Params)
	add(
		map[string]string{
			"CI":              "true",
			"DRONE":           "true",
			"HOME":            dir,
			"DRONE_WORKSPACE": dir,
			"DRONE_REPO":      b.repo.Slug,
		},
	)
	add(c.environ)
	add(b.variables())
	for name, place := range c.secrets {
		value := ""
		if place[1] != "" {
			value = s.secretOf(ctx, b, place[0], place[1])
		}
		environ, hidden = append(environ, name+"="+value), append(hidden, value)
	}
	return environ, hidden
}

// variables returns Drone's variables of a build.
func (b *build) variables() map[string]string {
	all := map[string]string{
		"DRONE_BUILD_NUMBER": strconv.FormatInt(
			b.Number, 10,
		), "DRONE_BUILD_EVENT": b.Event, "DRONE_BUILD_ACTION": b.Action,
		"DRONE_COMMIT": b.After, "DRONE_COMMIT_SHA": b.After, "DRONE_COMMIT_REF": b.Ref,
		"DRONE_COMMIT_BRANCH": b.Target,
	}
	if tag, ok := strings.CutPrefix(b.Ref, "refs/tags/"); ok {
		all["DRONE_TAG"] = tag
	}
	return all
}

// endedByServer marks the stage and its steps as the server does when it cancels a build.
func (b *build) endedByServer() {
	for _, stage := range b.Stages {
		stage.Status, stage.Stopped = drone.StatusKilled, b.Finished
		for _, step := range stage.Steps {
			if step.Status == drone.StatusPending || step.Status == drone.StatusRunning {
				step.Status, step.ExitCode = drone.StatusKilled, 130
			}
		}
	}
}

// kill stops a build. It is no error if the build is finished.
func (s *Server) kill(w http.ResponseWriter, r *http.Request, _ string, repo *Repository) {
	s.mu.Lock()
	b := s.build(w, r, repo)
	if b == nil {
		s.mu.Unlock()
		return
	}
	switch b.Status {
	case drone.StatusPending:
		b.Status, b.Finished = drone.StatusKilled, time.Now().Unix()
		b.Started, b.Stages[0].Status = b.Finished, drone.StatusSkipped
		b.Version++
		close(b.ended)
		s.queue = slices.DeleteFunc(s.queue, func(q *build) bool { return q == b })
	case drone.StatusRunning:
		b.Status, b.Finished = drone.StatusKilled, time.Now().Unix()
		b.Version++
		b.endedByServer()
		if !s.lostCancel {
			b.cancel()
		}
	}
	shown := b.shown()
	s.mu.Unlock()
	s.sendWebhook(repo, "updated", shown)
	respond(w, shown)
}
