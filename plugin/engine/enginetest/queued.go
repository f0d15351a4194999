package enginetest

import (
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// eachBranch returns a rule that builds each branch b... as an image tag of the same name.
func eachBranch() localenv.Rule {
	return localenv.Rule{Type: "branch", Source: `/^(b.*)$/`, Tags: `{\1}`}
}

// slow is a Dockerfile step that takes longer than any case.
const slow = "RUN sleep 600"

// occupy starts a build that occupies one of the gateway's places.
func occupy(env *demotest.Env) (*demotest.Project, autobuild.Build) {
	env.T.Helper()
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Slow", env.Dockerfile(env.T.Name(), slow))
	p.Push("main")
	return p, p.WaitNewest(1, autobuild.Running)
}

// cancelQueued: a queued build is canceled at once.
func cancelQueued(env *demotest.Env) {
	holder, holding := occupy(env)
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("Unwanted", env.Dockerfile("unwanted"))
	p.Push("main")
	p.Cancel(p.WaitNewest(1, autobuild.Queued))
	holder.Cancel(holding)
}

// cancelRunning: canceling a running build stops its runner and frees its place.
func cancelRunning(env *demotest.Env) {
	p, b := occupy(env)
	p.Cancel(b)
	p.Commit("Again", env.Dockerfile("again"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(2, autobuild.Succeeded), "again")
}

// branchMoved (B11): a queued build builds its own commit and not the branch's newest.
func branchMoved(env *demotest.Env) {
	holder, holding := occupy(env)
	p := env.Automate(env.Dockerfile("x"), eachBranch())
	older := p.Commit("Older", env.Dockerfile("older"))
	p.Push("HEAD:refs/heads/b-moved")
	p.WaitNewest(1, autobuild.Queued)
	p.Commit("Newer [skip ci]", env.Dockerfile("newer"))
	p.Push("HEAD:refs/heads/b-moved")
	holder.Cancel(holding)
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Commit.Hash != older {
		env.T.Errorf("commit: got %s, want %s", b.Commit.Hash, older)
	}
	p.CheckImage("b-moved", b, "older")
}

// branchDeleted: a queued build builds its commit although the branch was deleted.
func branchDeleted(env *demotest.Env) {
	holder, holding := occupy(env)
	p := env.Automate(env.Dockerfile("x"), eachBranch())
	p.Commit("Last words", env.Dockerfile("last words"))
	p.Push("HEAD:refs/heads/b-deleted")
	p.WaitNewest(1, autobuild.Queued)
	p.Push(":refs/heads/b-deleted")
	holder.Cancel(holding)
	p.CheckImage("b-deleted", p.WaitEnd(1, autobuild.Succeeded), "last words")
}

// timeOut: a build that exceeds its timeout fails, and its status names the reason.
func (f Factory) timeOut(env *demotest.Env) {
	p, _ := occupy(env)
	b := p.WaitEnd(1, autobuild.Failed)
	if b.Reason != autobuild.ReasonTimeout {
		env.T.Errorf("got reason %s, want %s", b.Reason, autobuild.ReasonTimeout)
	}
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	statuses := p.Statuses(b.Commit.Hash)
	if len(statuses) != 1 {
		env.T.Fatalf("got statuses %+v, want one", statuses)
	}
	text := statuses[0].Description
	if !strings.HasPrefix(text, "failed: ") || !strings.Contains(text, "time limit") {
		env.T.Errorf("got description %q, want one about the timeout", text)
	}
	// An upper limit would depend on the load of the machine.
	if took := b.FinishedAt.Sub(b.StartedAt); took < shortTime+f.Slow {
		env.T.Errorf("duration: got %s, want at least %s", took, shortTime+f.Slow)
	}
	p.CheckOneEnd(b.Commit.Hash)
}
