package crashtest

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// F9: of two gateways the one that runs a build is killed and does not come back. The other one
// ends the build, once.
func TestF9AnotherGatewayTakesOver(t *testing.T) {
	t.Parallel()
	env := demotest.StartSignedIn(t, onPostgres(t, "SLIPWAY_CONCURRENCY=1"))
	second, err := env.FurtherGateway(env.Context)
	env.Must(err)
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Nap", env.Dockerfile("survivor", "RUN sleep 3"))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	runs := runsAt(env, b)
	survivor := second
	if name, err := second.Name(); err != nil || name == runs {
		env.Must(err)
		survivor = env.Gateway
		env.Must(second.Kill())
	} else {
		env.Must(env.Gateway.Kill())
	}
	b = p.WaitEnd(1, autobuild.Succeeded)
	if name, err := survivor.Name(); err != nil || b.Attempt != 2 || runsAt(env, b) != name {
		t.Errorf("it ended in attempt %d at %s (%v), want 2 at %s", b.Attempt, runsAt(env, b), err, name)
	}
	p.WaitAll(1)
	p.CheckImage("latest", b, "survivor")
	p.CheckOneEnd(commit)
}

// runsAt is the gateway that started a build's newest attempt.
func runsAt(env *demotest.Env, b autobuild.Build) string {
	env.T.Helper()
	s, err := env.Gateway.Store(env.Context)
	env.Must(err)
	defer s.Close()
	a, err := s.Attempt(env.Context, b.ID, b.Attempt)
	env.Must(err)
	return a.Gateway
}
