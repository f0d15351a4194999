package demo_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"slipway/plugin/autobuild"
	"slipway/plugin/demo/demotest"
	"slipway/plugin/demo/localenv"
)

// TestLoop tests the results of pushes. Each case has a repository of its own in one environment.
func TestLoop(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{Environment: commonSettings()})
	t.Run("together", func(t *testing.T) {
		for name, test := range map[string]func(*demotest.Env){
			"private repository":         privateRepository,
			"two tags on one commit":     twoTags,
			"back to an earlier commit":  backAndForth,
			"ten deliveries of one push": tenDeliveries,
			"a slower older build":       slowerOlder,
			"retry":                      retry,
			"invalid deliveries":         invalidDeliveries,
			"the log of one push":        logOfOnePush,
			"two automated builds":       twoAutomatedBuilds,
			"hooks fetch and push":       hooksFetchAndPush,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(env.For(t))
			})
		}
	})
	t.Run("unlink", func(t *testing.T) { unlink(env.For(t)) })
	t.Run("revoked", func(t *testing.T) { revoked(env.For(t)) })
}

// privateRepository: a private repository is built with the credential of the linked account.
func privateRepository(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	refs := p.Repository.CloneURL() + "/info/refs?service=git-upload-pack"
	req, err := http.NewRequestWithContext(env.Context, http.MethodGet, refs, nil)
	env.Must(err)
	resp, err := http.DefaultClient.Do(req)
	env.Must(err)
	env.Must(resp.Body.Close())
	if resp.StatusCode == http.StatusOK {
		env.T.Error("refs without a credential: got status 200, want a rejection")
	}
	p.Commit("Secret", env.Dockerfile("for us alone"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "for us alone")
}

// twoTags: two tags on one commit that match one rule give two builds, each with a status.
func twoTags(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.VersionRule())
	commit := p.Commit("Release", env.Dockerfile("release"))
	p.Git("tag", "v1.2")
	p.Git("tag", "-a", "-m", "v1.3", "v1.3")
	p.Push("main", "v1.2", "v1.3")
	var refs []string
	for _, b := range p.WaitAll(2) {
		_, err := env.WaitStatus(env.Context, b)
		env.Must(err)
		refs = append(refs, b.Ref.Full())
		if b.State != autobuild.Succeeded {
			env.T.Errorf("state: got %s, want succeeded: %s", b.State, env.DescribeBuild(b))
		}
		if b.Commit.Hash != commit {
			env.T.Errorf("build %d: got commit %s, want %s", b.Number, b.Commit.Hash, commit)
		}
		p.CheckImage(strings.TrimPrefix(b.Ref.Name, "v"), b, "release")
	}
	slices.Sort(refs)
	if !slices.Equal(refs, []string{"refs/tags/v1.2", "refs/tags/v1.3"}) {
		env.T.Errorf("refs with a build: got %v, want both tags", refs)
	}
	statuses := p.Repository.Statuses(commit)
	if len(statuses) != 2 {
		env.T.Fatalf("statuses: got %+v, want two", statuses)
	}
	if statuses[0].Key == statuses[1].Key {
		env.T.Errorf("keys of the statuses: got %s twice, want two keys", statuses[0].Key)
	}
	for _, s := range statuses {
		if s.State != "SUCCESSFUL" {
			env.T.Errorf("status %s: got %s, want SUCCESSFUL", s.Key, s.State)
		}
	}
}

// backAndForth: a branch moves to A, to B and back to A. These are three transitions and three builds.
func backAndForth(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	a := p.Commit("A", env.Dockerfile("a"))
	p.Push("main")
	first := p.WaitEnd(1, autobuild.Succeeded)
	b := p.Commit("B", env.Dockerfile("b"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(2, autobuild.Succeeded), "b")
	p.Git("reset", "--quiet", "--hard", a)
	p.Push("--force", "main")
	third := p.WaitEnd(3, autobuild.Succeeded)
	p.CheckImage("latest", third, "a")
	var built []string
	for _, build := range p.WaitAll(3) {
		built = append(built, build.Commit.Hash)
	}
	if !slices.Equal(built, []string{a, b, a}) {
		env.T.Errorf("commits with a build: got %v, want %v", built, []string{a, b, a})
	}
	if statuses := p.Repository.Statuses(a); len(statuses) != 1 {
		env.T.Errorf("statuses: got %+v of builds %d and %d, want one", statuses, first.Number, third.Number)
	}
}

// slowerOlder: A is pushed, then B while the slower build of A runs. The tag latest is B, and A is not
// published after it.
func slowerOlder(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	p.Commit("A", env.Dockerfile("a", "RUN sleep 4"))
	p.Push("main")
	p.WaitNewest(1, autobuild.Running)
	p.Commit("B", env.Dockerfile("b"))
	p.Push("main")
	builds := p.WaitAll(2)
	older, newer := builds[0], builds[1]
	if newer.State != autobuild.Succeeded {
		env.T.Fatalf("state: got %s, want succeeded: %s", newer.State, env.DescribeBuild(newer))
	}
	p.CheckImage("latest", newer, "b")
	if older.State != autobuild.Cancelled {
		env.T.Errorf("state: got %s, want cancelled: %s", older.State, env.DescribeBuild(older))
	}
	if older.Reason != autobuild.ReasonSuperseded {
		env.T.Errorf("reason: got %s, want superseded: %s", older.Reason, env.DescribeBuild(older))
	}
	status, err := env.WaitStatus(env.Context, older)
	env.Must(err)
	if status.State != "STOPPED" {
		env.T.Errorf("status of the older commit: got %s, want STOPPED", status.State)
	}
}

// retry: after the cause of a failure is fixed, a retry succeeds as the next attempt of the same build.
// The status has the same key.
func retry(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	base := env.Registry + "/" + p.Repository.FullName() + "/base:1"
	commit := p.Commit("Use a missing base image", map[string]string{
		"Dockerfile":   "FROM " + base + "\nCOPY greeting.txt /\n",
		"greeting.txt": "at last",
	})
	p.Push("main")
	failed := p.WaitEnd(1, autobuild.Failed)
	before := p.Repository.Statuses(commit)
	if len(before) != 1 || before[0].State != "FAILED" {
		env.T.Fatalf("statuses: got %+v, want one FAILED", before)
	}
	env.Must(env.SeedImage(env.Context, base))
	env.Must(env.Browser.Press(env.Context, failed, localenv.Retry))
	b := p.WaitNewest(1, autobuild.Succeeded)
	_, err := env.WaitStatus(env.Context, b)
	env.Must(err)
	if b.Number != failed.Number {
		env.T.Errorf("build: got %d, want %d again", b.Number, failed.Number)
	}
	if b.Attempt != failed.Attempt+1 {
		env.T.Errorf("attempt: got %d, want %d", b.Attempt, failed.Attempt+1)
	}
	p.CheckImage("latest", b, "at last")
	after := p.Repository.Statuses(commit)
	if len(after) != 1 {
		env.T.Fatalf("statuses: got %+v, want one", after)
	}
	if after[0].Key != before[0].Key {
		env.T.Errorf("status key: got %s, want %s as before", after[0].Key, before[0].Key)
	}
	if after[0].State != "SUCCESSFUL" {
		env.T.Errorf("status: got %s, want SUCCESSFUL", after[0].State)
	}
}
