package crashtest

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// F9: of two gateways the one that runs a build is killed and does not start again. The other one
// finishes the build, once.
func TestF9AnotherGatewayTakesOver(t *testing.T) {
	t.Parallel()
	env := demotest.StartSignedIn(t, onPostgres(t, "SLIPWAY_CONCURRENCY=1"))
	second, err := env.FurtherGateway(env.Context)
	env.Must(err)
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Nap", env.Dockerfile("survivor", "RUN sleep 3"))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	name, err := second.Name()
	env.Must(err)
	killed, survivor := env.Gateway, second
	if gatewayOf(env, b) == name {
		killed, survivor = second, env.Gateway
	}
	env.Must(killed.Kill())
	b = p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		t.Errorf("attempts: got %d, want 2", b.Attempt)
	}
	name, err = survivor.Name()
	env.Must(err)
	if got := gatewayOf(env, b); got != name {
		t.Errorf("gateway of attempt 2: got %s, want %s", got, name)
	}
	p.WaitAll(1)
	p.CheckImage("latest", b, "survivor")
	p.CheckOneEnd(commit)
}

// gatewayOf returns the name of the gateway that started a build's newest attempt.
func gatewayOf(env *demotest.Env, b autobuild.Build) string {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	a, err := s.Attempt(env.Context, b.ID, b.Attempt)
	env.Must(err)
	return a.Gateway
}
