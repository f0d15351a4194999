package crashtest

import (
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F23: a build takes more memory than it may, and the kernel kills it. The build fails and names the limit.
// The gateway keeps running, and builds the next push.
func TestF23AnOutOfMemoryKillOfABuildLeavesTheGateway(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	env := demotest.StartSignedIn(t, localenv.Options{
		Child:       true,
		Environment: []string{"SLIPWAY_BUILDER_NETWORK=none", "SLIPWAY_BUILD_MEMORY=256MB"},
	})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	gateway := env.Gateway.PID()
	hungry := p.Commit("hungry", env.Dockerfile("hungry", "RUN dd if=/dev/zero of=/dev/null bs=400M count=1"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Failed)
	if b.Reason != autobuild.ReasonOOM {
		t.Errorf("reason of the build: got %s, want %s", b.Reason, autobuild.ReasonOOM)
	}
	log, err := env.Browser.Log(env.Context, b, b.Attempt, 0)
	env.Must(err)
	if want := "killed: out of memory, limit 256 MB"; !strings.Contains(log, want) {
		t.Errorf("log: got no %q, want it:\n%s", want, log)
	}
	p.CheckOneEnd(hungry)
	commit := p.Commit("next", env.Dockerfile("next"))
	p.Push("main")
	checkBuilt(p, 2, commit, "next")
	if got := env.Gateway.PID(); got != gateway || !env.Gateway.Running() {
		t.Errorf("gateway: got process %d, running %t, want process %d", got, env.Gateway.Running(), gateway)
	}
}
