package enginetest

import (
	"strings"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
)

// success: a push gives an image with the build's digest and a successful status.
func success(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("first"), demotest.MainRule())
	commit := p.Commit("Second", env.Dockerfile("second", "RUN test second = $(cat greeting.txt)"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Succeeded)
	p.CheckImage("latest", b, "second")
	if b.Commit.Hash != commit {
		env.T.Errorf("got commit %s, want %s", b.Commit.Hash, commit)
	}
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	if b.Size == 0 {
		env.T.Error("got size 0, want the size of the image")
	}
	p.CheckOneSuccess(commit)
	if got := p.Statuses(commit)[0].Refname; got != "main" {
		env.T.Errorf("got status of ref %q, want main", got)
	}
}

// failure: a failing step of the Dockerfile is an error of the repository, so the build is not
// retried.
func failure(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Break", env.Dockerfile("x", "RUN echo about-to-fail && false"))
	p.Push("main")
	b := p.WaitEnd(1, autobuild.Failed)
	if b.Reason != autobuild.ReasonBuild {
		env.T.Errorf("got reason %s, want %s", b.Reason, autobuild.ReasonBuild)
	}
	if b.Attempt != 1 {
		env.T.Errorf("got attempt %d, want 1", b.Attempt)
	}
	if b.Digest != "" {
		env.T.Errorf("got digest %s, want none", b.Digest)
	}
	if s := p.Statuses(commit); len(s) != 1 || s[0].State != "FAILED" {
		env.T.Errorf("got statuses %+v, want one FAILED", s)
	}
	log, err := env.Browser.Log(env.Context, b, 1, 0)
	env.Must(err)
	if !strings.Contains(log, "RUN echo about-to-fail && false") || !strings.Contains(log, "about-to-fail\n") {
		env.T.Errorf("log: got no failing step, want it:\n%s", log)
	}
}

// tagBuild: a pushed tag moves all image tags of its rule to one digest.
func tagBuild(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	commit := p.Commit("Release", env.Dockerfile("release"))
	p.Git("tag", "-a", "-m", "v1.2", "v1.2")
	p.Push("main", "v1.2")
	b := p.WaitEnd(1, autobuild.Succeeded)
	if b.Ref.Full() != "refs/tags/v1.2" || b.Commit.Hash != commit {
		env.T.Errorf("commit of %s: got %s, want the tag's commit %s", b.Ref.Full(), b.Commit.Hash, commit)
	}
	p.CheckImage("1.2", b, "release")
	p.CheckImage("1", b, "release")
}

// onePush, F19: a push of two branches and a tag gives three builds, each with its own commit and
// status.
func onePush(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), eachBranch(), demotest.VersionRule())
	commits := map[string]string{}
	for _, name := range []string{"b-one", "b-two", "v2.3"} {
		commits[name] = p.Commit(name, env.Dockerfile(name))
		p.Git("tag", "of-"+name)
	}
	p.Git("tag", "-a", "-m", "Release", "v2.3", "of-v2.3")
	p.Push("of-b-one^{commit}:refs/heads/b-one", "of-b-two^{commit}:refs/heads/b-two", "v2.3")
	keys := map[string]bool{}
	for _, b := range p.WaitAll(3) {
		if b.State != autobuild.Succeeded {
			env.T.Errorf("got state %s, want succeeded: %s", b.State, env.DescribeBuild(b))
			continue
		}
		if want := commits[b.Ref.Name]; b.Commit.Hash != want {
			env.T.Errorf("%s: got commit %s, want %s", b.Ref.Name, b.Commit.Hash, want)
			continue
		}
		if b.Attempt != 1 {
			env.T.Errorf("%s: got attempt %d, want 1", b.Ref.Name, b.Attempt)
		}
		tag := strings.TrimPrefix(b.Ref.Name, "v")
		p.CheckImage(tag, b, b.Ref.Name)
		_, err := env.WaitStatus(env.Context, b)
		env.Must(err)
		for _, s := range p.Statuses(b.Commit.Hash) {
			keys[s.Key] = keys[s.Key] || s.State == "SUCCESSFUL"
		}
		p.CheckOneEnd(b.Commit.Hash)
	}
	if len(keys) != 3 {
		env.T.Errorf("got statuses %v, want three keys", keys)
	}
}

// lostRunner: if a runner is killed, the build loses one attempt and succeeds in the next.
func lostRunner(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	commit := p.Commit("Slow", env.Dockerfile("slow", "RUN sleep 4"))
	p.Push("main")
	b := p.WaitNewest(1, autobuild.Running)
	env.Must(KillRunner(env.Context, autobuild.Attempt{BuildID: b.ID, Number: b.Attempt}))
	b = p.WaitEnd(1, autobuild.Succeeded)
	if b.Attempt != 2 {
		env.T.Errorf("last attempt of build %d: got %d, want 2", b.Number, b.Attempt)
	}
	p.CheckImage("latest", b, "slow")
	p.CheckOneEnd(commit)
}
