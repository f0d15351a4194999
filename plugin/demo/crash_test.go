package demo_test

import (
	"slices"
	"strings"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// sleepCommand is the command of a RUN step. No other process on this machine has these arguments.
const sleepCommand = "sleep 4.0731"

// canary is the value of an environment variable that a build hook prints.
const canary = "canary-5e1f0c9a7b"

// If a gateway is killed during a build, all its processes end. The next gateway finishes the build
// once, as attempt 2. No secret becomes visible anywhere.
func TestKilledGateway(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{
		Child:            true,
		RegistryPassword: secret.New("registry-9d3b21c4"),
		Environment:      commonSettings(),
	})
	env.Must(env.AddRegistry(env.Context, env.Browser))
	p := env.Repository(env.Dockerfile("x"))
	variables := map[string]secret.Secret{"CANARY": secret.New(canary)}
	env.Must(p.AutomateWith(env.Context, env.Browser, variables, demotest.MainRule()))
	files := env.Dockerfile("survivor", "RUN echo napping; "+sleepCommand)
	files["hooks/pre_build"] = "#!/bin/sh\necho \"hook sees $CANARY\"\n"
	commit := p.Commit("Nap", files)

	processes := recordProcesses(env, secretsOf(env, p))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	isNapping := func(log string) bool { return strings.Contains(log, "napping\n") }
	_, err := env.Browser.WaitLog(env.Context, b, 1, isNapping)
	env.Must(err)
	env.Must(env.Gateway.Kill())
	env.WaitUntil("all processes of the killed gateway ended", func() (bool, error) {
		left, err := processesOf(env)
		return len(left) == 0, err
	})
	mounts, err := env.Mounts()
	env.Must(err)
	if len(mounts) != 0 {
		t.Errorf("mounts: got %v, want none", mounts)
	}
	env.Must(env.Gateway.Start(env.Context))
	b = p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		t.Errorf("attempt: got %d, want 2", b.Attempt)
	}
	p.WaitAll(1)
	p.CheckOneEnd(commit)
	p.CheckImage("latest", b, "survivor")
	processes.check()
	t.Run("S1 S5 S8 no secret is visible", func(t *testing.T) { checkNoSecrets(env.For(t), p, b, processes.tokens) })
}

// processesOf returns the processes of the gateway, and the process of the RUN step.
func processesOf(env *demotest.Env) ([]localenv.Process, error) {
	left, err := env.Workers()
	if err != nil {
		return nil, err
	}
	all, err := localenv.Processes()
	steps := slices.DeleteFunc(all, func(p localenv.Process) bool {
		return strings.Join(p.Args, " ") != sleepCommand
	})
	return append(left, steps...), err
}
