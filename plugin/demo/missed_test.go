package demo_test

import (
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// F18: a webhook that somebody removed while no gateway ran is made anew by the one that starts,
// which finds what was pushed meanwhile.
func TestF18AGatewayThatStartsFindsWhatItMissed(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{Environment: quick()})
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	before := p.Repository.Hooks()
	env.Gateway.Stop()
	p.Repository.RemoveHooks()
	p.Commit("Missed", env.Dockerfile("missed"))
	p.Push("main")
	env.Must(env.Gateway.Start(env.Context))
	if b := p.WaitNewest(
		1,
		autobuild.Queued,
		autobuild.Starting,
		autobuild.Running,
		autobuild.Succeeded,
	); b.Cause != autobuild.CauseReconcile {
		t.Errorf("cause %s, want a poll's", b.Cause)
	}
	hooks := p.Repository.Hooks()
	if len(hooks) != 1 || !hooks[0].Active || hooks[0].URL != before[0].URL || hooks[0].UUID == before[0].UUID {
		t.Errorf("webhooks %+v, before %+v", hooks, before)
	}
	if hook := hookOf(env, p); hook.State != autobuild.HookActive || hook.RemoteID != hooks[0].UUID {
		t.Errorf("ours is %+v", hook)
	}
}
