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

// TestLoop proves what a push comes to, each case with a repository of its own in one world.
func TestLoop(t *testing.T) {
	demotest.RequireTools(t)
	env := demotest.StartSignedIn(t, localenv.Options{Environment: quick()})
	t.Run("together", func(t *testing.T) {
		for name, try := range map[string]func(*demotest.Env){
			"private repository":         privateRepository,
			"two tags on one commit":     twoTags,
			"back to an earlier commit":  backAndForth,
			"ten deliveries of one push": tenDeliveries,
			"a slower older build":       slowerOlder,
			"retry":                      retry,
			"deliveries of strangers":    strangers,
			"the log of one push":        logOfOnePush,
			"two of one repository":      twoOfOneRepository,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				try(env.For(t))
			})
		}
	})
	t.Run("unlink", func(t *testing.T) { unlink(env.For(t)) })
	t.Run("revoked", func(t *testing.T) { revoked(env.For(t)) })
}

// privateRepository: what strangers cannot fetch is built with the linked account's credential.
func privateRepository(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	req, err := http.NewRequestWithContext(
		env.Context,
		http.MethodGet,
		p.Repository.CloneURL()+"/info/refs?service=git-upload-pack",
		nil,
	)
	env.Must(err)
	resp, err := http.DefaultClient.Do(req)
	env.Must(err)
	env.Must(resp.Body.Close())
	if resp.StatusCode == http.StatusOK {
		env.T.Error("a stranger may fetch the repository")
	}
	p.Commit("Secret", env.Dockerfile("for us alone"))
	p.Push("main")
	p.CheckImage("latest", p.WaitEnd(1, autobuild.Succeeded), "for us alone")
}

// twoTags: two tags on one commit under one rule are two builds with a status each.
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
		if b.State != autobuild.Succeeded || b.Commit.Hash != commit {
			env.T.Error(env.DescribeBuild(b))
		}
		p.CheckImage(strings.TrimPrefix(b.Ref.Name, "v"), b, "release")
	}
	slices.Sort(refs)
	if !slices.Equal(refs, []string{"refs/tags/v1.2", "refs/tags/v1.3"}) {
		env.T.Errorf("built %v", refs)
	}
	statuses := p.Repository.Statuses(commit)
	if len(statuses) != 2 || statuses[0].Key == statuses[1].Key || statuses[0].State != "SUCCESSFUL" ||
		statuses[1].State != "SUCCESSFUL" {
		env.T.Errorf("statuses %+v, want two SUCCESSFUL", statuses)
	}
}

// backAndForth: A, B and A again are three moves of the branch, and three builds.
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
		env.T.Errorf("built %v, want %v", built, []string{a, b, a})
	}
	if statuses := p.Repository.Statuses(a); len(statuses) != 1 {
		env.T.Errorf("statuses %+v of builds %d and %d, want one", statuses, first.Number, third.Number)
	}
}

// slowerOlder: push A, then B at once, with A slower: latest is B, and A is not published
// after it.
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
		env.T.Fatal(env.DescribeBuild(newer))
	}
	p.CheckImage("latest", newer, "b")
	if older.State != autobuild.Cancelled || older.Reason != autobuild.ReasonSuperseded {
		env.T.Error("want it superseded: " + env.DescribeBuild(older))
	}
	status, err := env.WaitStatus(env.Context, older)
	env.Must(err)
	if status.State != "STOPPED" {
		env.T.Errorf("the older commit's status is %s", status.State)
	}
}

// retry: a build that failed for what is mended since succeeds in its next attempt, under
// the same status.
func retry(env *demotest.Env) {
	p := env.Automate(env.Dockerfile("x"), demotest.MainRule())
	base := env.Registry + "/" + p.Repository.FullName() + "/base:1"
	commit := p.Commit(
		"From a base that is missing",
		map[string]string{"Dockerfile": "FROM " + base + "\nCOPY greeting.txt /\n", "greeting.txt": "at last"},
	)
	p.Push("main")
	failed := p.WaitEnd(1, autobuild.Failed)
	before := p.Repository.Statuses(commit)
	if len(before) != 1 || before[0].State != "FAILED" {
		env.T.Fatalf("statuses %+v, want one FAILED", before)
	}
	env.Must(env.SeedImage(env.Context, base))
	env.Must(env.Browser.Press(env.Context, failed, localenv.Retry))
	b := p.WaitNewest(1, autobuild.Succeeded)
	_, err := env.WaitStatus(env.Context, b)
	env.Must(err)
	if b.Number != failed.Number || b.Attempt != failed.Attempt+1 {
		env.T.Errorf("retried as attempt %d of build %d, want the next of %d", b.Attempt, b.Number, failed.Number)
	}
	p.CheckImage("latest", b, "at last")
	after := p.Repository.Statuses(commit)
	if len(after) != 1 || after[0].Key != before[0].Key || after[0].State != "SUCCESSFUL" {
		env.T.Errorf("statuses %+v, want the one of before, SUCCESSFUL", after)
	}
}
