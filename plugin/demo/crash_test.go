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

// napping is a step that is known from every other process of this machine.
const napping = "sleep 4.0731"

// canary is the value of an environment variable that a build hook prints.
const canary = "canary-5e1f0c9a7b"

// A gateway that is killed in the middle of a build takes everything with it; the next one
// ends the build once, as attempt 2. What was secret stays secret throughout.
func TestKilledGateway(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(
		t,
		localenv.Options{Child: true, RegistryPassword: secret.New("registry-9d3b21c4"), Environment: quick()},
	)
	env.Must(env.AddRegistry(env.Context, env.Browser))
	p := env.Repository(env.Dockerfile("x"))
	env.Must(
		p.AutomateWith(
			env.Context,
			env.Browser,
			map[string]secret.Secret{"CANARY": secret.New(canary)},
			demotest.MainRule(),
		),
	)
	files := env.Dockerfile("survivor", "RUN echo napping; "+napping)
	files["hooks/pre_build"] = "#!/bin/sh\necho \"hook sees $CANARY\"\n"
	commit := p.Commit("Nap", files)

	watch := watchArguments(env, secretsOf(env, p))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	_, err := env.Browser.WaitLog(env.Context, b, 1, func(log string) bool { return strings.Contains(log, "napping\n") })
	env.Must(err)
	env.Must(env.Gateway.Kill())
	env.WaitUntil("nothing of the killed gateway runs", func() (bool, error) {
		left, err := leftOf(env)
		return len(left) == 0, err
	})
	if mounts, err := env.Mounts(); err != nil || len(mounts) != 0 {
		t.Errorf("mounts stay: %v, %v", mounts, err)
	}
	env.Must(env.Gateway.Start(env.Context))
	b = p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		t.Errorf("ended in attempt %d, want 2", b.Attempt)
	}
	p.WaitAll(1)
	p.CheckOneEnd(commit)
	p.CheckImage("latest", b, "survivor")
	watch.report()
	t.Run("S1 S5 S8 secrets stay", func(t *testing.T) { secretsStay(env.For(t), p, b, watch.tokens) })
}

// leftOf lists what works for the gateway, and the step of its build.
func leftOf(env *demotest.Env) ([]localenv.Process, error) {
	left, err := env.Workers()
	if err != nil {
		return nil, err
	}
	all, err := localenv.Processes()
	nappers := slices.DeleteFunc(all, func(p localenv.Process) bool { return strings.Join(p.Args, " ") != napping })
	return append(left, nappers...), err
}
