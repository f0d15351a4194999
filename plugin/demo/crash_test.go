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
	demotest.NeedMachine(t)
	h := demotest.Open(
		t,
		localenv.Options{Child: true, RegistryPassword: secret.New("registry-9d3b21c4"), Environment: quick()},
	)
	h.Must(h.AddRegistry(h.Context, h.Browser))
	p := h.Repository(h.Dockerfile("x"))
	h.Must(
		p.AutomateWith(
			h.Context,
			h.Browser,
			map[string]secret.Secret{"CANARY": secret.New(canary)},
			demotest.MainToLatest(),
		),
	)
	files := h.Dockerfile("survivor", "RUN echo napping; "+napping)
	files["hooks/pre_build"] = "#!/bin/sh\necho \"hook sees $CANARY\"\n"
	commit := p.Commit("Nap", files)

	watch := watchArguments(h, secretsOf(h, p))
	p.Push("main")
	b := p.Await(1, autobuild.Running)
	_, err := h.Browser.WaitLog(h.Context, b, 1, func(log string) bool { return strings.Contains(log, "napping\n") })
	h.Must(err)
	h.Must(h.Gateway.Kill())
	h.Until("nothing of the killed gateway runs", func() (bool, error) {
		left, err := leftOf(h)
		return len(left) == 0, err
	})
	if mounts, err := h.Mounts(); err != nil || len(mounts) != 0 {
		t.Errorf("mounts stay: %v, %v", mounts, err)
	}
	h.Must(h.Gateway.Start(h.Context))
	b = p.End(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		t.Errorf("ended in attempt %d, want 2", b.Attempt)
	}
	p.All(1)
	p.OneEnd(commit)
	p.Holds("latest", b, "survivor")
	watch.report()
	t.Run("S1 S5 S8 secrets stay", func(t *testing.T) { secretsStay(h.For(t), p, b, watch.tokens) })
}

// leftOf lists what works for the gateway, and the step of its build.
func leftOf(h *demotest.Env) ([]localenv.Process, error) {
	left, err := h.Workers()
	if err != nil {
		return nil, err
	}
	all, err := localenv.Processes()
	nappers := slices.DeleteFunc(all, func(p localenv.Process) bool { return strings.Join(p.Args, " ") != napping })
	return append(left, nappers...), err
}
