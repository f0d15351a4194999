package crashtest

import (
	"fmt"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/failpoint"
	"slipway/plugin/demo/localenv"
)

// runnerSteps returns the steps of an attempt that builds a version, in order.
func runnerSteps(v version) []string {
	return []string{
		"claim",
		"fetch",
		"build",
		"record digest",
		"permit",
		"upload",
		"push tag " + v.tags()[0],
		"push tag " + v.tags()[1],
		"finish",
	}
}

// isTested reports whether a runner crashes there in this run. The state after a step is the
// state before the next one, except for the last step: the log is sent before it. Only the long
// form tests both.
func isTested(c crash) bool {
	switch {
	case c.mode == failpoint.After, c.operation == "claim", c.operation == "finish":
		return true
	}
	return isLong()
}

// F1: if a runner crashes before or after any of its steps, a second attempt builds the push once:
// each tag has the recorded digest, there is one final status, and no process or mount is left.
// The database makes no difference here, so this test uses SQLite only.
func TestF1EveryStepOfTheRunner(t *testing.T) {
	demotest.RequireTools(t)
	t.Parallel()
	env := demotest.StartSignedIn(t, localenv.Options{
		Environment: []string{"SLIPWAY_CONCURRENCY=20", "SLIPWAY_BUILDER_NETWORK=none"},
	})
	point := env.RunnerFailpoint()
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	var pushed []version
	for i := range runnerSteps(version{}) {
		for _, mode := range crashModes() {
			v := version{number: len(pushed), maxAttempts: 2}
			v.crash = crash{mode, runnerSteps(v)[i]}
			if v.crash == (crash{failpoint.After, "finish"}) {
				v.maxAttempts = 1 // the attempt has ended
			}
			if isTested(v.crash) {
				pushed = append(pushed, v.push(env.For(t), point, p))
			}
		}
	}
	checkBuiltOnce(t, env, p, pushed, (*demotest.Project).CheckOneEnd)
	checkNothingLeft(env.For(t), p)
}

// A version is pushed as a tag of its own while a failpoint is enabled. So no version waits for
// another one.
type version struct {
	number      int
	crash       crash
	maxAttempts int // of its build
	commit      string
}

func (v version) name() string { return fmt.Sprintf("%d.0", v.number) }

// tags returns the tags of its image.
func (v version) tags() []string { return []string{v.name(), fmt.Sprint(v.number)} }

// push returns after the failpoint was triggered.
func (v version) push(env *demotest.Env, point failpoint.Point, p *demotest.Project) version {
	env.T.Helper()
	p = p.For(env)
	v.commit = p.Commit(v.name(), env.Dockerfile(v.name()))
	p.Git("tag", "v"+v.name())
	env.Must(point.Enable(v.crash.mode, v.crash.operation))
	p.Push("v" + v.name())
	env.WaitUntil("the failpoint "+v.crash.String()+" was triggered", point.Triggered)
	return v
}

// checkBuiltOnce waits until all builds have ended, and checks the build of each version.
// checkStatus checks the statuses that Bitbucket received for its commit.
func checkBuiltOnce(
	t *testing.T, env *demotest.Env, p *demotest.Project, pushed []version,
	checkStatus func(p *demotest.Project, commit string),
) {
	t.Helper()
	builds := map[string]autobuild.Build{}
	for _, b := range p.For(env.For(t)).WaitAll(len(pushed)) {
		builds[b.Commit.Hash] = b
	}
	for _, v := range pushed {
		t.Run(v.crash.String(), func(t *testing.T) {
			env := env.For(t)
			p := p.For(env)
			b := builds[v.commit]
			if b.State != autobuild.Succeeded {
				t.Fatalf("state: got %s, want succeeded: %s", b.State, env.DescribeBuild(b))
			}
			if b.Attempt > v.maxAttempts {
				t.Fatalf("attempts: got %d, want at most %d: %s", b.Attempt, v.maxAttempts, env.DescribeBuild(b))
			}
			for _, tag := range v.tags() {
				p.CheckImage(tag, b, v.name())
			}
			_, err := env.WaitStatus(env.Context, b)
			env.Must(err)
			checkStatus(p, v.commit)
		})
	}
}
