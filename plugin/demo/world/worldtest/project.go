package worldtest

import (
	"slices"
	"strings"
	"time"

	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/demo/world"
)

// promptly is how long a cancelled build and its status may take from the click on: 2 s are
// promised, and a loaded machine adds to them. A runner that did not hear of it would go on for
// longer.
const promptly = 10 * time.Second

// A Project is a repository in a house; whatever fails ends its test.
type Project struct {
	*world.Project
	House *House
}

// Commit commits files and returns the hash.
func (p *Project) Commit(message string, files map[string]string) string {
	p.House.T.Helper()
	hash, err := p.Project.Commit(p.House.Context, message, files)
	p.House.Must(err)
	return hash
}

// Push pushes refs.
func (p *Project) Push(refs ...string) {
	p.House.T.Helper()
	_, err := p.Project.Push(p.House.Context, refs...)
	p.House.Must(err)
}

// Git runs git in the checkout.
func (p *Project) Git(args ...string) {
	p.House.T.Helper()
	_, err := p.Project.Git(p.House.Context, args...)
	p.House.Must(err)
}

// Await waits until there are n builds and the newest is in one of the states.
func (p *Project) Await(n int, states ...autobuild.State) autobuild.Build {
	p.House.T.Helper()
	b, err := p.WaitState(p.House.Context, n, states...)
	p.House.Must(err)
	return b
}

// All waits until there are n builds, all of them ended, and returns them oldest first.
func (p *Project) All(n int) []autobuild.Build {
	p.House.T.Helper()
	builds, err := p.Wait(p.House.Context, n, world.AllFinal)
	p.House.Must(err)
	oldestFirst := make([]autobuild.Build, 0, len(builds))
	for i := range builds {
		oldestFirst = append(oldestFirst, builds[len(builds)-1-i])
	}
	if len(builds) != n {
		p.House.T.Fatalf("%d builds, want %d", len(builds), n)
	}
	return oldestFirst
}

// End waits for the end of the newest of n builds, which must be state, and for its status.
func (p *Project) End(n int, state autobuild.State) autobuild.Build {
	p.House.T.Helper()
	b := p.Await(n, world.Final()...)
	if b.State != state {
		p.House.T.Fatalf("want %s, but %s", state, p.House.BuildOf(b))
	}
	_, err := p.House.WaitStatus(p.House.Context, b)
	p.House.Must(err)
	return b
}

// Cancel presses Cancel, waits for the end, and holds the gateway to its promise of how
// soon both the build and its status show it.
func (p *Project) Cancel(b autobuild.Build) {
	p.House.T.Helper()
	click := time.Now()
	p.House.Must(p.House.Browser.Press(p.House.Context, b, world.Cancel))
	b = p.End(1, autobuild.Cancelled)
	took := time.Since(click)
	if took > promptly || b.Reason != autobuild.ReasonUser {
		p.House.T.Errorf(
			"build %d was cancelled (%s) and its status STOPPED after %s, want at most %s",
			b.Number,
			b.Reason,
			took,
			promptly,
		)
	}
	p.OneEnd(b.Commit.Hash)
}

// Holds checks that a tag is a build's image, and that its greeting is this one.
func (p *Project) Holds(tag string, b autobuild.Build, greeting string) {
	p.House.T.Helper()
	img, digest, err := p.House.Pull(p.House.Context, p.Image+":"+tag)
	p.House.Must(err)
	if digest != b.Digest {
		p.House.T.Errorf("%s is %s, but build %d says %s", tag, digest, b.Number, b.Digest)
	}
	got, err := world.ReadFile(img, "greeting.txt")
	p.House.Must(err)
	if got != greeting {
		p.House.T.Errorf("%s holds %q, want %q", tag, got, greeting)
	}
}

// Statuses are the gateway's on a commit; a CI may have some of its own there.
func (p *Project) Statuses(commit string) []bitbuckettest.Status {
	return ours(p.Repository.Statuses(commit))
}

func ours(all []bitbuckettest.Status) []bitbuckettest.Status {
	return slices.DeleteFunc(all, func(s bitbuckettest.Status) bool { return !strings.HasPrefix(s.Key, "slipway-") })
}

// OneSuccess checks that a commit has one status, which says that its build succeeded.
func (p *Project) OneSuccess(commit string) {
	p.House.T.Helper()
	if all := p.Statuses(commit); len(all) != 1 || all[0].State != "SUCCESSFUL" {
		p.House.T.Errorf("statuses of %s: %+v, want one, SUCCESSFUL", commit, all)
	}
}

// For is the project for a further test, in that test's house.
func (p *Project) For(h *House) *Project { return &Project{Project: p.Project, House: h} }

// OneEnd checks that a commit has one status, and was told one end of it.
func (p *Project) OneEnd(commit string) {
	p.House.T.Helper()
	ends, history := 0, ours(p.Repository.StatusHistory(commit))
	for _, s := range history {
		if s.State != "INPROGRESS" {
			ends++
		}
	}
	if all := p.Statuses(commit); len(all) != 1 || ends != 1 {
		p.House.T.Errorf("%d statuses, %d ends told; want one of each: %+v", len(all), ends, history)
	}
}
