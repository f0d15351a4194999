package inrepo_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// A ci is how a CI says in a step's environment what it runs for.
type ci func(link, ref, commit string) []string

// drone is what Drone sets. Source: https://docs.drone.io/pipeline/environment/reference/
func drone(link, ref, commit string) []string {
	return []string{
		"CI=true", "DRONE=true", "DRONE_BUILD_LINK=" + link, "DRONE_STAGE_NAME=default", "DRONE_STEP_NAME=image",
		"DRONE_COMMIT_SHA=" + commit, "DRONE_COMMIT_REF=" + ref, "DRONE_REPO=acme/app", "DRONE_BUILD_NUMBER=17",
	}
}

// woodpecker is what Woodpecker sets. Source: https://woodpecker-ci.org/docs/usage/environment
func woodpecker(link, ref, commit string) []string {
	return []string{
		"CI=woodpecker", "CI_PIPELINE_URL=" + link, "CI_WORKFLOW_NAME=build", "CI_STEP_NAME=image",
		"CI_COMMIT_SHA=" + commit, "CI_COMMIT_REF=" + ref, "CI_REPO=acme/app", "CI_PIPELINE_NUMBER=17",
	}
}

// A pipeline is a repository's own, whose step runs by hand here as its CI would run it.
type pipeline struct {
	*demotest.Project
	t     *testing.T
	id    string // of the automated build
	token string
}

// newPipeline makes an automated build of the engine own and its token, through the pages.
func newPipeline(h *demotest.Env, rules ...localenv.Rule) *pipeline {
	h.T.Helper()
	p := &pipeline{Project: h.Automate(h.Dockerfile("x"), rules...), t: h.T.(*testing.T)}
	p.id, p.token = h.Joining()
	return p
}

// step runs the step for a ref at a commit to its end, as a process with the environment that
// a CI gives it, and returns what it printed.
func (p *pipeline) step(on ci, ref, commit string, further ...string) (output string, err error) {
	p.t.Helper()
	cmd := exec.CommandContext(p.Env.Context, os.Args[0])
	cmd.Dir = p.t.TempDir()
	cmd.Env = slices.Concat([]string{
		"PATH=" + os.Getenv(
			"PATH",
		),
		"HOME=" + p.t.TempDir(),
		"TMPDIR=" + p.t.TempDir(),
		"PLUGIN_GATEWAY=" + p.Env.Gateway.URL,
		"PLUGIN_AUTOMATED_BUILD=" + p.id,
		"PLUGIN_TOKEN=" + p.token,
	}, on("https://ci.example.com/acme/app/17", ref, commit), further)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), p.token) {
		p.t.Error("the step prints its token")
	}
	return string(out), err
}

// TestSteps proves what a user's own pipeline comes to, on a real gateway.
func TestSteps(t *testing.T) {
	demotest.NeedMachine(t)
	h := demotest.Open(t, localenv.Options{Environment: []string{"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none"}})
	for name, try := range map[string]func(*demotest.Env){
		"on Drone":                   func(h *demotest.Env) { onePush(h, drone) },
		"on Woodpecker":              func(h *demotest.Env) { onePush(h, woodpecker) },
		"two rules":                  twoRules,
		"a branch without a rule":    noRule,
		"a build that fails":         failing,
		"an older push comes last":   olderLast,
		"what is not to be believed": unbelieved,
	} {
		t.Run(name, func(t *testing.T) { try(h.For(t)) })
	}
}

func number(b autobuild.Build) string { return fmt.Sprint(b.Number) }

// onePush: a push is built by the step, and its commit has the gateway's status.
func onePush(h *demotest.Env, on ci) {
	p := newPipeline(h, demotest.MainToLatest())
	commit := p.Commit("By a step", h.Dockerfile("by a step"))
	p.Push("main")
	output, err := p.step(on, "refs/heads/main", commit)
	if err != nil {
		h.T.Fatalf("the step: %v\n%s", err, output)
	}
	b := p.End(1, autobuild.Succeeded)
	p.Holds("latest", b, "by a step")
	if statuses := p.Statuses(commit); len(statuses) != 1 || statuses[0].State != "SUCCESSFUL" {
		h.T.Errorf("statuses %+v, want one SUCCESSFUL", statuses)
	}
	log, err := h.Browser.Log(h.Context, b, 1, 0)
	h.Must(err)
	if !strings.Contains(log, "commit") || !strings.Contains(output, strings.TrimSpace(strings.Split(log, "\n")[0])) {
		h.T.Errorf("the log is\n%s\nand the step printed\n%s", log, output)
	}
	output, err = p.step(on, "refs/heads/main", commit) // somebody runs the pipeline again
	if err != nil || !strings.Contains(output, "build "+number(b)+" has succeeded") {
		h.T.Errorf("the step of a second pipeline: %v\n%s", err, output)
	}
}

// twoRules: two rules of one push are two images, built in one step.
func twoRules(h *demotest.Env) {
	p := newPipeline(h, demotest.MainToLatest(), localenv.Rule{Type: "branch", Source: "/^ma/", Tags: "edge"})
	commit := p.Commit("Twice", h.Dockerfile("twice"))
	p.Push("main")
	if output, err := p.step(drone, "refs/heads/main", commit); err != nil {
		h.T.Fatalf("the step: %v\n%s", err, output)
	}
	for _, b := range p.All(2) {
		if b.State != autobuild.Succeeded {
			h.T.Fatal(h.BuildOf(b))
		}
		p.Holds(b.Tags[0], b, "twice")
		_, err := h.WaitStatus(h.Context, b)
		h.Must(err)
	}
	statuses := p.Statuses(commit)
	if len(statuses) != 2 || statuses[0].State != "SUCCESSFUL" || statuses[1].State != "SUCCESSFUL" {
		h.T.Errorf("statuses %+v, want two SUCCESSFUL", statuses)
	}
}

// noRule: what no rule builds does not make the pipeline fail.
func noRule(h *demotest.Env) {
	p := newPipeline(h, demotest.MainToLatest())
	p.Git("checkout", "--quiet", "-b", "feature")
	commit := p.Commit("A feature", h.Dockerfile("a feature"))
	p.Push("feature")
	output, err := p.step(woodpecker, "refs/heads/feature", commit)
	if err != nil || !strings.Contains(output, "nothing to build of refs/heads/feature") {
		h.T.Errorf("the step of a branch: %v\n%s", err, output)
	}
	output, err = p.step(woodpecker, "refs/pull-requests/7/from", commit)
	if err != nil || !strings.Contains(output, "neither a branch nor a tag") {
		h.T.Errorf("the step of a pull request: %v\n%s", err, output)
	}
	if builds, err := p.Builds(h.Context); err != nil || len(builds) != 0 {
		h.T.Errorf("%d builds, %v", len(builds), err)
	}
}

// failing: a build that fails makes the step fail, each time that it runs.
func failing(h *demotest.Env) {
	p := newPipeline(h, demotest.MainToLatest())
	commit := p.Commit("Broken", h.Dockerfile("broken", "COPY missing /"))
	p.Push("main")
	output, err := p.step(drone, "refs/heads/main", commit)
	b := p.End(1, autobuild.Failed)
	if err == nil || !strings.Contains(output, "build "+number(b)+": build failed (build)") {
		h.T.Errorf("the step: %v\n%s", err, output)
	}
	output, err = p.step(drone, "refs/heads/main", commit)
	if err == nil || !strings.Contains(output, "retry it on its page") {
		h.T.Errorf("the step once more: %v\n%s", err, output)
	}
}

// olderLast: a step that comes after the one of a newer push moves no tag.
func olderLast(h *demotest.Env) {
	p := newPipeline(h, demotest.MainToLatest())
	older := p.Commit("A", h.Dockerfile("a"))
	p.Push("main")
	p.Await(1, autobuild.Starting)
	newer := p.Commit("B", h.Dockerfile("b"))
	p.Push("main")
	if output, err := p.step(drone, "refs/heads/main", newer); err != nil {
		h.T.Fatalf("the step of the newer push: %v\n%s", err, output)
	}
	output, err := p.step(drone, "refs/heads/main", older)
	if err == nil || !strings.Contains(output, "build cancelled (superseded)") {
		h.T.Errorf("the step of the older push: %v\n%s", err, output)
	}
	builds := p.All(2)
	if builds[0].State != autobuild.Cancelled || builds[0].Reason != autobuild.ReasonSuperseded {
		h.T.Error("want it superseded: " + h.BuildOf(builds[0]))
	}
	p.Holds("latest", builds[1], "b")
}

// TestAStepOfAPushThatWasNotTold: a step that asks has the repository's refs looked at, long
// before their next poll.
func TestAStepOfAPushThatWasNotTold(t *testing.T) {
	demotest.NeedMachine(t)
	h := demotest.Open(t, localenv.Options{PublicHooksOnly: true, Environment: []string{
		"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_POLL_INTERVAL=1h",
	}})
	p := newPipeline(h, demotest.MainToLatest())
	s, err := h.Gateway.Store(h.Context)
	h.Must(err)
	defer s.Close()
	h.Until("the refs are polled for the first time", func() (bool, error) {
		hooks, err := s.Hooks(h.Context)
		return err == nil && len(hooks) == 1 && !hooks[0].PolledAt.IsZero(), err
	})
	commit := p.Commit("Untold", h.Dockerfile("untold"))
	p.Push("main")
	if output, err := p.step(
		drone,
		"refs/heads/main",
		commit,
	); err != nil ||
		!strings.Contains(output, "waiting: no build of") {
		t.Fatalf("the step: %v\n%s", err, output)
	}
	p.Holds("latest", p.End(1, autobuild.Succeeded), "untold")
}

// TestAStepPushesWithTheSecretsOfItsCI: the installation's credential for the registry is not for
// a step that the people of the repository control.
func TestAStepPushesWithTheSecretsOfItsCI(t *testing.T) {
	demotest.NeedMachine(t)
	h := demotest.Open(t, localenv.Options{RegistryPassword: secret.New("registry-7c02de91"), Environment: []string{
		"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none",
	}})
	h.Must(h.AddRegistry(h.Context, h.Browser))
	p := newPipeline(h, demotest.MainToLatest())
	commit := p.Commit("Without a login", h.Dockerfile("without a login"))
	p.Push("main")
	output, err := p.step(drone, "refs/heads/main", commit, "PLUGIN_INSECURE=true")
	if want := "set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD)"; err == nil ||
		!strings.Contains(output, want) {
		t.Errorf("a step without a login: got %v, want %q in\n%s", err, want, output)
	}
	password := h.RegistryPassword().Reveal()
	commit = p.Commit("With a login", h.Dockerfile("with a login"))
	p.Push("main")
	output, err = p.step(drone, "refs/heads/main", commit,
		"PLUGIN_INSECURE=true", "PLUGIN_USERNAME="+localenv.RegistryUser, "PLUGIN_PASSWORD="+password)
	if err != nil {
		t.Fatalf("a step with a login: %v\n%s", err, output)
	}
	if strings.Contains(output, password) {
		t.Error("the step prints the password")
	}
	p.Holds("latest", p.End(2, autobuild.Succeeded), "with a login")
}

// unbelieved: a token opens its own automated build alone.
func unbelieved(h *demotest.Env) {
	p := newPipeline(h, demotest.MainToLatest())
	commit := p.Commit("Not for you", h.Dockerfile("not for you"))
	p.Push("main")
	p.Await(1, autobuild.Starting)
	for _, setting := range []string{"PLUGIN_TOKEN=guess", "PLUGIN_AUTOMATED_BUILD=another"} {
		output, err := p.step(drone, "refs/heads/main", commit, setting)
		if err == nil || !strings.Contains(output, "does not take PLUGIN_TOKEN for the automated build") {
			h.T.Errorf("%s: %v\n%s", setting, err, output)
		}
	}
	p.Cancel(p.Await(1, autobuild.Starting))
	output, err := p.step(drone, "refs/heads/main", commit)
	if err == nil || !strings.Contains(output, "cancelled (user)") {
		h.T.Errorf("the step of a cancelled build: %v\n%s", err, output)
	}
}
