package demotest

import (
	"slices"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/localenv"
)

// promptly is how long a cancelled build and its status may take from the click on: 2 s are
// promised, and a loaded machine adds to them. A runner that did not hear of it would go on for
// longer.
const promptly = 10 * time.Second

// A Project is a repository in a house; whatever fails ends its test.
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

// Await waits until there are n builds and the newest is in one of the states.
func (p *Project) WaitNewest(n int, states ...autobuild.State) autobuild.Build {
	p.Env.T.Helper()
	b, err := p.WaitState(p.Env.Context, n, states...)
	p.Env.Must(err)
	return b
}

// All waits until there are n builds, all of them ended, and returns them oldest first.
func (p *Project) WaitAll(n int) []autobuild.Build {
	p.Env.T.Helper()
	builds, err := p.Wait(p.Env.Context, n, localenv.AllFinal)
	p.Env.Must(err)
	oldestFirst := make([]autobuild.Build, 0, len(builds))
	for i := range builds {
		oldestFirst = append(oldestFirst, builds[len(builds)-1-i])
	}
	if len(builds) != n {
		p.Env.T.Fatalf("%d builds, want %d", len(builds), n)
	}
	return oldestFirst
}

// End waits for the end of the newest of n builds, which must be state, and for its status.
func (p *Project) WaitEnd(n int, state autobuild.State) autobuild.Build {
	p.Env.T.Helper()
	b := p.WaitNewest(n, localenv.Final()...)
	if b.State != state {
		p.Env.T.Fatalf("want %s, but %s", state, p.Env.DescribeBuild(b))
	}
	_, err := p.Env.WaitStatus(p.Env.Context, b)
	p.Env.Must(err)
	return b
}

// Cancel presses Cancel, waits for the end, and holds the gateway to its promise of how
// soon both the build and its status show it.
func (p *Project) Cancel(b autobuild.Build) {
	p.Env.T.Helper()
	click := time.Now()
	p.Env.Must(p.Env.Browser.Press(p.Env.Context, b, localenv.Cancel))
	b = p.WaitEnd(1, autobuild.Cancelled)
	took := time.Since(click)
	if took > promptly || b.Reason != autobuild.ReasonUser {
		p.Env.T.Errorf(
			"build %d was cancelled (%s) and its status STOPPED after %s, want at most %s",
			b.Number,
			b.Reason,
			took,
			promptly,
		)
	}
	p.CheckOneEnd(b.Commit.Hash)
}

// Holds checks that a tag is a build's image, and that its greeting is this one.
func (p *Project) CheckImage(tag string, b autobuild.Build, greeting string) {
	p.Env.T.Helper()
	img, digest, err := p.Env.Pull(p.Env.Context, p.Image+":"+tag)
	p.Env.Must(err)
	if digest != b.Digest {
		p.Env.T.Errorf("%s is %s, but build %d says %s", tag, digest, b.Number, b.Digest)
	}
	got, err := localenv.ReadFile(img, "greeting.txt")
	p.Env.Must(err)
	if got != greeting {
		p.Env.T.Errorf("%s holds %q, want %q", tag, got, greeting)
	}
}

// Statuses are the gateway's on a commit; a CI may have some of its own there.
func (p *Project) Statuses(commit string) []bitbuckettest.Status {
	return ours(p.Repository.Statuses(commit))
}

func ours(all []bitbuckettest.Status) []bitbuckettest.Status {
	return slices.DeleteFunc(all, func(s bitbuckettest.Status) bool { return !strings.HasPrefix(s.Key, "slipway-") })
}

// CheckOneSuccess checks that a commit has one status, which says that its build succeeded.
func (p *Project) CheckOneSuccess(commit string) {
	p.Env.T.Helper()
	if all := p.Statuses(commit); len(all) != 1 || all[0].State != "SUCCESSFUL" {
		p.Env.T.Errorf("statuses of %s: %+v, want one, SUCCESSFUL", commit, all)
	}
}

// For is the project for a further test, in that test's house.
func (p *Project) For(env *Env) *Project { return &Project{Project: p.Project, Env: env} }

// CheckOneEnd checks that a commit has one status, and was told one end of it.
func (p *Project) CheckOneEnd(commit string) {
	p.Env.T.Helper()
	ends, history := 0, ours(p.Repository.StatusHistory(commit))
	for _, s := range history {
		if s.State != "INPROGRESS" {
			ends++
		}
	}
	if all := p.Statuses(commit); len(all) != 1 || ends != 1 {
		p.Env.T.Errorf("%d statuses, %d ends told; want one of each: %+v", len(all), ends, history)
	}
}
