package enginetest

import (
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// success: a push gives an image with the build's digest and a successful status.
func success(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("first"), demotest.MainToLatest())
	commit := p.Commit("Second", h.Dockerfile("second", "RUN test second = $(cat greeting.txt)"))
	p.Push("main")
	b := p.End(1, autobuild.Succeeded)
	p.Holds("latest", b, "second")
	if b.Commit.Hash != commit || b.Attempt != 1 || b.Size == 0 {
		h.T.Errorf("build %+v, want attempt 1 of %s with its size", b, commit)
	}
	statuses := p.Statuses(commit)
	if len(statuses) != 1 || statuses[0].State != "SUCCESSFUL" || statuses[0].Refname != "main" {
		h.T.Errorf("statuses %+v, want one of main", statuses)
	}
}

// failure: a failing step of the Dockerfile is an error of the repository, so the build is not
// retried.
func failure(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Break", h.Dockerfile("x", "RUN echo about-to-fail && false"))
	p.Push("main")
	b := p.End(1, autobuild.Failed)
	if b.Reason != autobuild.ReasonBuild || b.Attempt != 1 || b.Digest != "" {
		h.T.Errorf("build %+v, want attempt 1 failed by its Dockerfile, without a digest", b)
	}
	if s := p.Statuses(commit); len(s) != 1 || s[0].State != "FAILED" {
		h.T.Errorf("statuses %+v, want one FAILED", s)
	}
	log, err := h.Browser.Log(h.Context, b, 1, 0)
	h.Must(err)
	if !strings.Contains(log, "RUN echo about-to-fail && false") || !strings.Contains(log, "about-to-fail\n") {
		h.T.Errorf("the log does not show the failing step:\n%s", log)
	}
}

// tagBuild: a pushed tag moves all image tags of its rule to one digest.
func tagBuild(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.Versions())
	commit := p.Commit("Release", h.Dockerfile("release"))
	p.Git("tag", "-a", "-m", "v1.2", "v1.2")
	p.Push("main", "v1.2")
	b := p.End(1, autobuild.Succeeded)
	if b.Ref.Full() != "refs/tags/v1.2" || b.Commit.Hash != commit {
		h.T.Errorf("built %s at %s, want the tag's commit %s", b.Ref.Full(), b.Commit.Hash, commit)
	}
	p.Holds("1.2", b, "release")
	p.Holds("1", b, "release")
}

// onePush: a push of two branches and a tag gives three builds, each with its own commit and
// status.
func onePush(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), eachBranch(), demotest.Versions())
	commits := map[string]string{}
	for _, name := range []string{"b-one", "b-two", "v2.3"} {
		commits[name] = p.Commit(name, h.Dockerfile(name))
		p.Git("tag", "of-"+name)
	}
	p.Git("tag", "-a", "-m", "Release", "v2.3", "of-v2.3")
	p.Push("of-b-one^{commit}:refs/heads/b-one", "of-b-two^{commit}:refs/heads/b-two", "v2.3")
	keys := map[string]bool{}
	for _, b := range p.All(3) {
		if b.State != autobuild.Succeeded || b.Commit.Hash != commits[b.Ref.Name] || b.Attempt != 1 {
			h.T.Errorf("want success at %s, but of %s %s", commits[b.Ref.Name], b.Commit.Hash, h.BuildOf(b))
			continue
		}
		tag := strings.TrimPrefix(b.Ref.Name, "v")
		p.Holds(tag, b, b.Ref.Name)
		_, err := h.WaitStatus(h.Context, b)
		h.Must(err)
		for _, s := range p.Statuses(b.Commit.Hash) {
			keys[s.Key] = keys[s.Key] || s.State == "SUCCESSFUL"
		}
		p.OneEnd(b.Commit.Hash)
	}
	if len(keys) != 3 {
		h.T.Errorf("statuses %v, want three keys", keys)
	}
}

// lostRunner: if a runner is killed, the build loses one attempt and succeeds in the next.
func lostRunner(h *demotest.Env) {
	p := h.Automate(h.Dockerfile("x"), demotest.MainToLatest())
	commit := p.Commit("Slow", h.Dockerfile("slow", "RUN sleep 4"))
	p.Push("main")
	b := p.Await(1, autobuild.Running)
	h.Must(KillRunner(h.Context, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt}))
	b = p.End(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		h.T.Errorf("build %d ended in attempt %d, want 2", b.Number, b.Attempt)
	}
	p.Holds("latest", b, "slow")
	p.OneEnd(commit)
}
