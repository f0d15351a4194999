package crashtest

import (
	"fmt"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/failpoint"
	"slipway/plugin/demo/localenv"
)

// pushCommits returns the first words of the commits that a push causes, in order.
func pushCommits() []string {
	return []string{
		"store deliveries", // received
		"claim a task to plan", "plan delivery",
		"claim a task to dispatch", "start attempt", "set engine's name", "complete a task to dispatch", // dispatched
		"claim attempt", "record events", "permit", "finish attempt", // claimed, built, permitted, pushed and finished
		"claim a task to report", "mark report", "complete a task to report", // reported
	}
}

// crashModes returns the modes that crash a process.
func crashModes() []failpoint.Mode { return []failpoint.Mode{failpoint.Before, failpoint.After} }

// A crash is one operation at which a process dies.
type crash struct {
	mode      failpoint.Mode
	operation string
}

func (c crash) String() string { return string(c.mode) + " " + c.operation }

// crashesOf returns the crashes before and after each operation, in order.
func crashesOf(operations []string) (all []crash) {
	for _, operation := range operations {
		for _, mode := range crashModes() {
			all = append(all, crash{mode, operation})
		}
	}
	return all
}

// F1: if the gateway crashes before or after any commit of a push, the push is still built once:
// the tag has the recorded digest, there is one final status, and no process or mount is left.
func TestF1EveryCommitOfAPush(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		point := failpoint.New(t.TempDir())
		o.Environment = append(o.Environment, point.Environment())
		env := demotest.StartSignedIn(t, o)
		p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
		for i, c := range crashesOf(pushCommits()) {
			if !t.Run(c.String(), func(t *testing.T) { crashDuringPush(env.For(t), point, p, i+1, c) }) {
				t.FailNow() // the next push would wait for this push's build
			}
		}
		checkNothingLeft(env, p)
	})
}

// crashDuringPush makes the nth push, during which the gateway crashes, restarts the gateway and
// checks the build.
func crashDuringPush(env *demotest.Env, point failpoint.Point, p *demotest.Project, n int, c crash) {
	p = p.For(env)
	greeting := fmt.Sprint("push ", n)
	env.Must(point.Enable(c.mode, c.operation))
	commit := p.Commit(greeting, env.Dockerfile(greeting))
	p.Push("main")
	env.Must(env.Gateway.WaitEnded(env.Context))
	env.Must(env.Gateway.Start(env.Context))
	b := p.WaitEnd(n, autobuild.Succeeded)
	p.WaitAll(n)
	p.CheckImage("latest", b, greeting)
	if b.Commit.Hash != commit {
		env.T.Errorf("build of commit: got %s, want %s", b.Commit.Hash, commit)
	}
	if b.Attempt > 2 {
		env.T.Errorf("attempts: got %d, want at most 2", b.Attempt)
	}
	p.CheckOneSuccess(commit)
}

// checkNothingLeft stops a gateway that crashed before. It checks that no process or mount is
// left on the machine, and one webhook at Bitbucket.
func checkNothingLeft(env *demotest.Env, p *demotest.Project) {
	env.T.Helper()
	env.Gateway.Stop()
	env.WaitUntil("all processes of the gateway ended", func() (bool, error) {
		left, err := env.Workers()
		return len(left) == 0, err
	})
	mounts, err := env.Mounts()
	env.Must(err)
	if len(mounts) != 0 {
		env.T.Errorf("mounts: got %v, want none", mounts)
	}
	if hooks := p.Repository.Hooks(); len(hooks) != 1 {
		env.T.Errorf("webhooks: got %+v, want one", hooks)
	}
}
