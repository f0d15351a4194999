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

// A ci returns the environment that a CI sets for a step.
type ci func(link, ref, commit string) []string

// drone returns the variables that Drone sets. Source: https://docs.drone.io/pipeline/environment/reference/
func drone(link, ref, commit string) []string {
	return []string{
		"CI=true", "DRONE=true", "DRONE_BUILD_LINK=" + link, "DRONE_STAGE_NAME=default", "DRONE_STEP_NAME=image",
		"DRONE_COMMIT_SHA=" + commit, "DRONE_COMMIT_REF=" + ref, "DRONE_REPO=acme/app", "DRONE_BUILD_NUMBER=17",
	}
}

// woodpecker returns the variables that Woodpecker sets. Source: https://woodpecker-ci.org/docs/usage/environment
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
func newPipeline(env *demotest.Env, rules ...localenv.Rule) *pipeline {
	env.T.Helper()
	p := &pipeline{Project: env.Automate(env.Dockerfile("x"), rules...), t: env.T.(*testing.T)}
	p.id, p.token = env.UseOwnPipeline()
	return p
}

// step runs the step for a ref at a commit to its end, as a process with the environment that
// a CI gives it, and returns its output.
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
		p.t.Error("output of the step: got the token in it, want none")
	}
	return string(out), err
}

// TestSteps runs the steps of repositories' own pipelines with a real gateway.
func TestSteps(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(
		t,
		localenv.Options{Environment: []string{"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none"}},
	)
	for name, try := range map[string]func(*demotest.Env){
		"on Drone":                   func(env *demotest.Env) { onePush(env, drone) },
		"on Woodpecker":              func(env *demotest.Env) { onePush(env, woodpecker) },
		"two rules":                  twoRules,
		"a branch without a rule":    noRule,
		"a build that fails":         failing,
		"an older push comes last":   olderLast,
		"what is not to be believed": unbelieved,
	} {
		t.Run(name, func(t *testing.T) { try(env.For(t)) })
	}
}

func number(b autobuild.Build) string { return fmt.Sprint(b.Number) }

// onePush: a push is built by the step, and its commit has the gateway's status.
func onePush(env *demotest.Env, on ci) {
	p := newPipeline(env, demotest.MainRule())
	commit := p.Commit("By a step", env.Dockerfile("by a step"))
	p.Push("main")
	output, err := p.step(on, "refs/heads/main", commit)
	if err != nil {
		env.T.Fatalf("the step: %v\n%s", err, output)
	}
	b := p.WaitEnd(1, autobuild.Succeeded)
	p.CheckImage("latest", b, "by a step")
	if statuses := p.Statuses(commit); len(statuses) != 1 || statuses[0].State != "SUCCESSFUL" {
		env.T.Errorf("statuses: got %+v, want one SUCCESSFUL", statuses)
	}
	log, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if !strings.Contains(log, "commit") || !strings.Contains(output, strings.TrimSpace(strings.Split(log, "\n")[0])) {
		env.T.Errorf("log: got\n%s\nwant the step's output\n%s", log, output)
	}
	output, err = p.step(on, "refs/heads/main", commit) // a user restarts the pipeline
	if err != nil || !strings.Contains(output, "build "+number(b)+" has succeeded") {
		env.T.Errorf("the step of a second pipeline: %v\n%s", err, output)
	}
}

// twoRules: two rules of one push are two images, built in one step.
func twoRules(env *demotest.Env) {
	p := newPipeline(env, demotest.MainRule(), localenv.Rule{Type: "branch", Source: "/^ma/", Tags: "edge"})
	commit := p.Commit("Twice", env.Dockerfile("twice"))
	p.Push("main")
	if output, err := p.step(drone, "refs/heads/main", commit); err != nil {
		env.T.Fatalf("the step: %v\n%s", err, output)
	}
	for _, b := range p.WaitAll(2) {
		if b.State != autobuild.Succeeded {
			env.T.Fatal(env.DescribeBuild(b))
		}
		p.CheckImage(b.Tags[0], b, "twice")
		_, err := env.WaitStatus(env.Context, b)
		env.Must(err)
	}
	statuses := p.Statuses(commit)
	if len(statuses) != 2 {
		env.T.Errorf("statuses: got %+v, want two", statuses)
	}
	for _, s := range statuses {
		if s.State != "SUCCESSFUL" {
			env.T.Errorf("status: got %+v, want SUCCESSFUL", s)
		}
	}
}

// noRule: a push that no rule matches does not make the pipeline fail.
func noRule(env *demotest.Env) {
	p := newPipeline(env, demotest.MainRule())
	p.Git("checkout", "--quiet", "-b", "feature")
	commit := p.Commit("A feature", env.Dockerfile("a feature"))
	p.Push("feature")
	output, err := p.step(woodpecker, "refs/heads/feature", commit)
	if err != nil || !strings.Contains(output, "nothing to build of refs/heads/feature") {
		env.T.Errorf("the step of a branch: %v\n%s", err, output)
	}
	output, err = p.step(woodpecker, "refs/pull-requests/7/from", commit)
	if err != nil || !strings.Contains(output, "neither a branch nor a tag") {
		env.T.Errorf("the step of a pull request: %v\n%s", err, output)
	}
	if builds, err := p.Builds(env.Context); err != nil || len(builds) != 0 {
		env.T.Errorf("builds: got %d, error %v, want none", len(builds), err)
	}
}

// failing: a build that fails makes the step fail, each time that it runs.
func failing(env *demotest.Env) {
	p := newPipeline(env, demotest.MainRule())
	commit := p.Commit("Broken", env.Dockerfile("broken", "COPY missing /"))
	p.Push("main")
	output, err := p.step(drone, "refs/heads/main", commit)
	b := p.WaitEnd(1, autobuild.Failed)
	if err == nil || !strings.Contains(output, "build "+number(b)+": build failed (build)") {
		env.T.Errorf("the step: %v\n%s", err, output)
	}
	output, err = p.step(drone, "refs/heads/main", commit)
	if err == nil || !strings.Contains(output, "retry it on its page") {
		env.T.Errorf("the second run of the step: %v\n%s", err, output)
	}
}

// olderLast: a step that comes after the one of a newer push moves no tag.
func olderLast(env *demotest.Env) {
	p := newPipeline(env, demotest.MainRule())
	older := p.Commit("A", env.Dockerfile("a"))
	p.Push("main")
	p.WaitNewest(1, autobuild.Starting)
	newer := p.Commit("B", env.Dockerfile("b"))
	p.Push("main")
	if output, err := p.step(drone, "refs/heads/main", newer); err != nil {
		env.T.Fatalf("the step of the newer push: %v\n%s", err, output)
	}
	output, err := p.step(drone, "refs/heads/main", older)
	if err == nil || !strings.Contains(output, "build cancelled (superseded)") {
		env.T.Errorf("the step of the older push: %v\n%s", err, output)
	}
	builds := p.WaitAll(2)
	if builds[0].State != autobuild.Cancelled || builds[0].Reason != autobuild.ReasonSuperseded {
		env.T.Error("older build: got " + env.DescribeBuild(builds[0]) + ", want it superseded")
	}
	p.CheckImage("latest", builds[1], "b")
}

// TestAStepOfAPushThatWasNotTold: a step that asks has the repository's refs looked at, long
// before their next poll.
func TestAStepOfAPushThatWasNotTold(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{PublicHooksOnly: true, Environment: []string{
		"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_POLL_INTERVAL=1h",
	}})
	p := newPipeline(env, demotest.MainRule())
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	env.WaitUntil("the refs are polled for the first time", func() (bool, error) {
		hooks, err := s.Hooks(env.Context)
		return err == nil && len(hooks) == 1 && !hooks[0].PolledAt.IsZero(), err
	})
	commit := p.Commit("Untold", env.Dockerfile("untold"))
	p.Push("main")
	if output, err := p.step(
		drone,
		"refs/heads/main",
		commit,
	); err != nil ||
		!strings.Contains(output, "waiting: no build of") {
		t.Fatalf("the step: %v\n%s", err, output)
	}
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "untold")
}

// TestAStepPushesWithTheSecretsOfItsCI: the installation's credential for the registry is not for
// a step that the people of the repository control.
func TestAStepPushesWithTheSecretsOfItsCI(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(
		t,
		localenv.Options{RegistryPassword: secret.New("registry-7c02de91"), Environment: []string{
			"SLIPWAY_ENGINE=own", "SLIPWAY_BUILDER_NETWORK=none",
		}},
	)
	env.Must(env.AddRegistry(env.Context, env.Browser))
	p := newPipeline(env, demotest.MainRule())
	commit := p.Commit("Without a login", env.Dockerfile("without a login"))
	p.Push("main")
	output, err := p.step(drone, "refs/heads/main", commit, "PLUGIN_INSECURE=true")
	if want := "set username and password (PLUGIN_USERNAME, PLUGIN_PASSWORD)"; err == nil ||
		!strings.Contains(output, want) {
		t.Errorf("a step without a login: got %v, want %q in\n%s", err, want, output)
	}
	password := env.RegistryPassword().Reveal()
	commit = p.Commit("With a login", env.Dockerfile("with a login"))
	p.Push("main")
	output, err = p.step(drone, "refs/heads/main", commit,
		"PLUGIN_INSECURE=true", "PLUGIN_USERNAME="+localenv.RegistryUser, "PLUGIN_PASSWORD="+password)
	if err != nil {
		t.Fatalf("a step with a login: %v\n%s", err, output)
	}
	if strings.Contains(output, password) {
		t.Error("output of the step: got the password in it, want none")
	}
	p.CheckImage("latest", p.WaitEnd(2, autobuild.Succeeded), "with a login")
}

// unbelieved: a token opens its own automated build alone.
func unbelieved(env *demotest.Env) {
	p := newPipeline(env, demotest.MainRule())
	commit := p.Commit("Not for you", env.Dockerfile("not for you"))
	p.Push("main")
	p.WaitNewest(1, autobuild.Starting)
	for _, setting := range []string{"PLUGIN_TOKEN=guess", "PLUGIN_AUTOMATED_BUILD=another"} {
		output, err := p.step(drone, "refs/heads/main", commit, setting)
		if err == nil || !strings.Contains(output, "does not accept PLUGIN_TOKEN for the automated build") {
			env.T.Errorf("%s: %v\n%s", setting, err, output)
		}
	}
	p.Cancel(p.WaitNewest(1, autobuild.Starting))
	output, err := p.step(drone, "refs/heads/main", commit)
	if err == nil || !strings.Contains(output, "cancelled (user)") {
		env.T.Errorf("the step of a cancelled build: %v\n%s", err, output)
	}
}
