package demotest

import (
	"slices"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/localenv"
)

// cancelLimit is the maximum time from a click on Cancel to the final status. The documented time
// is 2 s; the rest allows for a loaded machine. A runner that misses the request takes longer.
const cancelLimit = 10 * time.Second

// A Project is a localenv.Project for one test: if an operation fails, it ends the test.
type Project struct {
	*localenv.Project
	Env *Env
}

// Commit commits files and returns the hash.
func (p *Project) Commit(message string, files map[string]string) string {
	p.Env.T.Helper()
	hash, err := p.Project.Commit(p.Env.Context, message, files)
	p.Env.Must(err)
	return hash
}

// Push pushes refs.
func (p *Project) Push(refs ...string) {
	p.Env.T.Helper()
	_, err := p.Project.Push(p.Env.Context, refs...)
	p.Env.Must(err)
}

// Git runs git in the checkout.
func (p *Project) Git(args ...string) {
	p.Env.T.Helper()
	_, err := p.Project.Git(p.Env.Context, args...)
	p.Env.Must(err)
}

// WaitNewest waits until there are n builds and the newest is in one of the states.
func (p *Project) WaitNewest(n int, states ...autobuild.State) autobuild.Build {
	p.Env.T.Helper()
	b, err := p.WaitState(p.Env.Context, n, states...)
	p.Env.Must(err)
	return b
}

// WaitAll waits until there are n builds and all have ended. It returns them oldest first.
func (p *Project) WaitAll(n int) []autobuild.Build {
	p.Env.T.Helper()
	builds, err := p.Wait(p.Env.Context, n, localenv.AllFinal)
	p.Env.Must(err)
	oldestFirst := make([]autobuild.Build, 0, len(builds))
	for i := range builds {
		oldestFirst = append(oldestFirst, builds[len(builds)-1-i])
	}
	if len(builds) != n {
		p.Env.T.Fatalf("got %d builds, want %d", len(builds), n)
	}
	return oldestFirst
}

// WaitEnd waits until the newest of n builds has ended and its status is reported. It ends the
// test if the build ended in another state.
func (p *Project) WaitEnd(n int, state autobuild.State) autobuild.Build {
	p.Env.T.Helper()
	b := p.WaitNewest(n, localenv.Final()...)
	if b.State != state {
		p.Env.T.Fatalf("got state %s, want %s: %s", b.State, state, p.Env.DescribeBuild(b))
	}
	_, err := p.Env.WaitStatus(p.Env.Context, b)
	p.Env.Must(err)
	return b
}

// Cancel presses Cancel and waits for the end of the first build. It checks that the build and its
// status show the end soon enough.
func (p *Project) Cancel(b autobuild.Build) {
	p.Env.T.Helper()
	click := time.Now()
	p.Env.Must(p.Env.Browser.Press(p.Env.Context, b, localenv.Cancel))
	b = p.WaitEnd(1, autobuild.Cancelled)
	took := time.Since(click)
	if took > cancelLimit {
		p.Env.T.Errorf("duration of the cancellation of build %d: got %s, want at most %s", b.Number, took, cancelLimit)
	}
	if b.Reason != autobuild.ReasonUser {
		p.Env.T.Errorf("cancel build %d: got reason %s, want %s", b.Number, b.Reason, autobuild.ReasonUser)
	}
	p.CheckOneEnd(b.Commit.Hash)
}

// CheckImage checks that a tag has the build's digest, and that the image's greeting.txt has this
// content.
func (p *Project) CheckImage(tag string, b autobuild.Build, greeting string) {
	p.Env.T.Helper()
	img, digest, err := p.Env.Pull(p.Env.Context, p.Image+":"+tag)
	p.Env.Must(err)
	if digest != b.Digest {
		p.Env.T.Errorf("tag %s: got digest %s, want %s of build %d", tag, digest, b.Digest, b.Number)
	}
	got, err := localenv.ReadFile(img, "greeting.txt")
	p.Env.Must(err)
	if got != greeting {
		p.Env.T.Errorf("tag %s: got greeting %q, want %q", tag, got, greeting)
	}
}

// Statuses returns the gateway's statuses of a commit, without those of a CI.
func (p *Project) Statuses(commit string) []bitbuckettest.Status {
	return slipwayStatuses(p.Repository.Statuses(commit))
}

func slipwayStatuses(all []bitbuckettest.Status) []bitbuckettest.Status {
	return slices.DeleteFunc(all, func(s bitbuckettest.Status) bool { return !strings.HasPrefix(s.Key, "slipway-") })
}

// CheckOneSuccess checks that a commit has one status, which is SUCCESSFUL.
func (p *Project) CheckOneSuccess(commit string) {
	p.Env.T.Helper()
	if all := p.Statuses(commit); len(all) != 1 || all[0].State != "SUCCESSFUL" {
		p.Env.T.Errorf("commit %s: got statuses %+v, want one that is SUCCESSFUL", commit, all)
	}
}

// For returns the same project for another test.
func (p *Project) For(env *Env) *Project { return &Project{Project: p.Project, Env: env} }

// CheckOneEnd checks that a commit has one status, and that one final state was reported for it.
func (p *Project) CheckOneEnd(commit string) {
	p.Env.T.Helper()
	ends, history := 0, slipwayStatuses(p.Repository.StatusHistory(commit))
	for _, s := range history {
		if s.State != "INPROGRESS" {
			ends++
		}
	}
	if got := len(p.Statuses(commit)); got != 1 {
		p.Env.T.Errorf("commit %s: got %d statuses, want 1: %+v", commit, got, history)
	}
	if ends != 1 {
		p.Env.T.Errorf("commit %s: got %d final states, want 1: %+v", commit, ends, history)
	}
}
