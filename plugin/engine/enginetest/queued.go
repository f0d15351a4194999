package enginetest

import (
	"strings"
	"time"

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
func occupy(h *demotest.Env) (*demotest.Project, autobuild.Build) {
	h.T.Helper()
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit("Slow", h.Dockerfile(h.T.Name(), slow))
	p.Push("main")
	return p, p.Await(1, autobuild.Running)
}

// cancelQueued: a queued build is canceled at once.
func cancelQueued(h *demotest.Env) {
	holder, holding := occupy(h)
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	p.Commit("Unwanted", h.Dockerfile("unwanted"))
	p.Push("main")
	p.Cancel(p.Await(1, autobuild.Queued))
	holder.Cancel(holding)
}

// cancelRunning: canceling a running build stops its runner and frees its place.
func cancelRunning(h *demotest.Env) {
	p, b := occupy(h)
	p.Cancel(b)
	p.Commit("Again", h.Dockerfile("again"))
	p.Push("main")
	p.Holds("latest", p.End(2, autobuild.Succeeded), "again")
}

// branchMoved (B11): a queued build builds its own commit and not the branch's newest.
func branchMoved(h *demotest.Env) {
	holder, holding := occupy(h)
	p := h.Automate(h.Dockerfile("x"), eachBranch())
	older := p.Commit("Older", h.Dockerfile("older"))
	p.Push("HEAD:refs/heads/b-moved")
	p.Await(1, autobuild.Queued)
	p.Commit("Newer [skip ci]", h.Dockerfile("newer"))
	p.Push("HEAD:refs/heads/b-moved")
	holder.Cancel(holding)
	b := p.End(1, autobuild.Succeeded)
	if b.Commit.Hash != older {
		h.T.Errorf("built %s, want %s", b.Commit.Hash, older)
	}
	p.Holds("b-moved", b, "older")
}

// branchDeleted: a queued build builds its commit although the branch was deleted.
func branchDeleted(h *demotest.Env) {
	holder, holding := occupy(h)
	p := h.Automate(h.Dockerfile("x"), eachBranch())
	p.Commit("Last words", h.Dockerfile("last words"))
	p.Push("HEAD:refs/heads/b-deleted")
	p.Await(1, autobuild.Queued)
	p.Push(":refs/heads/b-deleted")
	holder.Cancel(holding)
	p.Holds("b-deleted", p.End(1, autobuild.Succeeded), "last words")
}

// timeOut: a build that exceeds its timeout fails, and its status names the reason.
func (f Factory) timeOut(h *demotest.Env) {
	p, _ := occupy(h)
	b := p.End(1, autobuild.Failed)
	if b.Reason != autobuild.ReasonTimeout || b.Attempt != 1 {
		h.T.Errorf("build %+v, want attempt 1 failed by its time", b)
	}
	statuses := p.Statuses(b.Commit.Hash)
	if len(statuses) != 1 || !strings.HasPrefix(statuses[0].Description, "failed: ") ||
		!strings.Contains(statuses[0].Description, "longer than") {
		h.T.Errorf("statuses %+v, want one that says that it took too long", statuses)
	}
	if took := b.FinishedAt.Sub(b.CreatedAt); took < shortTime+f.Slow || took > shortTime+f.Slow+10*time.Second {
		h.T.Errorf("it ended after %s, want about %s", took, shortTime+f.Slow)
	}
	p.OneEnd(b.Commit.Hash)
}
