package crashtest

import (
	"fmt"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// onTheWay are the commits on a push's way, in its order, by the words that they begin with.
func onTheWay() []string {
	return []string{
		"store deliveries", // received
		"claim a task to plan", "plan delivery", "complete a task to plan",
		"claim a task to dispatch", "start attempt", "set engine's name", "complete a task to dispatch", // dispatched
		"claim attempt", "record events", "permit", "finish attempt", // claimed, built, permitted, pushed and finished
		"claim a task to report", "mark report", "complete a task to report", // reported
	}
}

// F1: a gateway that dies before or after any commit of a push's way builds the push once all
// the same: the tag at the recorded digest, one final status, no process or mount left behind.
func TestF1EveryCommitOfAPush(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o localenv.Options) {
		s := demotest.NewSentence(t)
		o.Environment = append(o.Environment, s.Environment())
		env := demotest.StartSignedIn(t, o)
		p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
		pushes := 0
		for _, what := range onTheWay() {
			for _, when := range []string{demotest.Before, demotest.After} {
				pushes++
				n := pushes
				if !t.Run(when+" "+what, func(t *testing.T) { dieOnTheWay(env.For(t), s, p, n, when, what) }) {
					t.FailNow() // what follows would wait for this push's build
				}
			}
		}
		leavesNothing(env, p)
	})
}

// dieOnTheWay makes the nth push, at which the gateway dies, and waits for what it comes to.
func dieOnTheWay(env *demotest.Env, s demotest.Sentence, p *demotest.Project, n int, when, what string) {
	p = p.For(env)
	greeting := fmt.Sprint("push ", n)
	env.Must(s.Pass(when, what))
	commit := p.Commit(greeting, env.Dockerfile(greeting))
	p.Push("main")
	env.Must(env.Gateway.Died(env.Context))
	env.Must(env.Gateway.Start(env.Context))
	b := p.WaitEnd(n, autobuild.Succeeded)
	p.WaitAll(n)
	p.CheckImage("latest", b, greeting)
	if b.Commit.Hash != commit || b.Attempt > 2 {
		env.T.Errorf("built %s in attempt %d, want %s in at most 2", b.Commit.Hash, b.Attempt, commit)
	}
	p.CheckOneSuccess(commit)
}

// leavesNothing checks that a gateway that ends after all its deaths leaves nothing on the
// machine, and one webhook at Bitbucket.
func leavesNothing(env *demotest.Env, p *demotest.Project) {
	env.T.Helper()
	env.Gateway.Stop()
	env.WaitUntil("nothing of the gateway runs", func() (bool, error) {
		left, err := env.Workers()
		return len(left) == 0, err
	})
	if mounts, err := env.Mounts(); err != nil || len(mounts) != 0 {
		env.T.Errorf("mounts stay: %v, %v", mounts, err)
	}
	if hooks := p.Repository.Hooks(); len(hooks) != 1 {
		env.T.Errorf("webhooks %+v, want one", hooks)
	}
}
