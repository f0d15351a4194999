package step_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/datacentertest"
	"slipway/runner/runnertest"
)

// aCloud is a Bitbucket Cloud with a commit of acme/app.
type aCloud struct {
	*httptest.Server
	alice  *bitbuckettest.User
	app    *bitbuckettest.Repository
	bot    secret.Secret // a repository access token
	commit string
}

func newCloud(t *testing.T) *aCloud {
	t.Helper()
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	c := &aCloud{Server: httptest.NewServer(server), alice: server.AddUser("alice")}
	t.Cleanup(c.Close)
	server.SetURL(c.URL)
	if c.app, err = server.AddRepository(
		server.AddWorkspace("acme", c.alice),
		"app",
		bitbuckettest.Private,
	); err != nil {
		t.Fatal(err)
	}
	if c.commit, err = c.app.Commit(
		t.Context(),
		"main",
		map[string]string{"Dockerfile": "FROM scratch\n"},
		"Start",
	); err != nil {
		t.Fatal(err)
	}
	if c.bot, err = server.AddAccessToken(bitbuckettest.AccessToken{
		Kind: bitbuckettest.RepositoryToken, Name: "bot", Repository: c.app, Scopes: []string{"repository"},
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *aCloud) environ(more ...string) []string {
	return append(
		append(
			runnertest.Pipeline("https://bitbucket.org/acme/app.git", "refs/heads/main", c.commit),
			"PLUGIN_BITBUCKET_URL="+c.URL,
		),
		more...)
}

func TestStepReportsToCloud(t *testing.T) {
	e, c := newEnv(t), newCloud(t)
	for _, credential := range [][]string{
		{"PLUGIN_BITBUCKET_TOKEN=" + c.bot.Reveal()},
		{"PLUGIN_BITBUCKET_USERNAME=" + c.alice.Email, "PLUGIN_BITBUCKET_PASSWORD=" + c.alice.AddAPIToken("read:repository:bitbucket").Reveal()},
	} {
		before := len(c.app.StatusHistory(c.commit))
		log, err := e.run(c.environ(append(credential, "PLUGIN_TAGS=1.2,latest")...)...)
		if err != nil {
			t.Fatalf("step: %v\n%s", err, log)
		}
		got := c.app.StatusHistory(c.commit)[before:]
		if got := len(got); got != 2 {
			t.Errorf("statuses: got %d, want 2", got)
		}
		if got[0].State != "INPROGRESS" {
			t.Errorf("state of the first status: got %q, want %q", got[0].State, "INPROGRESS")
		}
		if got[0].Key != got[1].Key {
			t.Errorf("key of the first status: got %v, want %v", got[0].Key, got[1].Key)
		}
		if got := len(got[0].Key); got != 40 {
			t.Errorf("length of the key: got %d, want 40", got)
		}
		end := got[1]
		if end.State != "SUCCESSFUL" {
			t.Errorf("state of the last status: got %q, want %q", end.State, "SUCCESSFUL")
		}
		if end.Refname != "main" {
			t.Errorf("branch of the last status: got %q, want %q", end.Refname, "main")
		}
		if end.URL != "https://drone.example.com/acme/app/7" {
			t.Errorf("URL of the last status: got %q, want %q", end.URL, "https://drone.example.com/acme/app/7")
		}
		if end.Name != e.Registry.Image() {
			t.Errorf("name of the last status: got %v, want %v", end.Name, e.Registry.Image())
		}
		if end.Description != "Pushed 1.2, latest at "+e.Registry.Tag("1.2") {
			t.Errorf(
				"description of the last status: got %q, want %q",
				end.Description,
				"Pushed 1.2, latest at "+e.Registry.Tag("1.2"),
			)
		}
		want := "status  SUCCESSFUL at acme/app@" + c.commit[:12]
		runnertest.CheckHas(t, "the log", log, want)
		runnertest.CheckLacks(t, "the log", log, c.bot.Reveal())
	}
	if got := c.app.Statuses(c.commit); len(got) != 1 {
		t.Errorf("statuses after a second run: got %d, want 1", len(got))
	}
}

func TestStepReportsAFailure(t *testing.T) {
	e, c := newEnv(t), newCloud(t)
	e.Builder.BuildError = errors.New("exit code 1 of: fetch --token " + c.bot.Reveal())
	log, err := e.run(c.environ("PLUGIN_BITBUCKET_TOKEN="+c.bot.Reveal(), "PLUGIN_BITBUCKET_KEY=image")...)
	got := c.app.StatusHistory(c.commit)
	if err == nil {
		t.Fatal("step: got no error, want one")
	}
	if got := len(got); got != 2 {
		t.Errorf("statuses: got %d, want 2", got)
	}
	if got[1].State != "FAILED" {
		t.Errorf("state of the last status: got %q, want %q", got[1].State, "FAILED")
	}
	if got[1].Key != "image" {
		t.Errorf("key of the last status: got %q, want %q", got[1].Key, "image")
	}
	text := got[1].Description
	runnertest.CheckHas(t, "text", text, "build of Dockerfile: exit code 1 of")
	runnertest.CheckLacks(t, "text", text, c.bot.Reveal())
	if !strings.Contains(log, "status of the commit: FAILED at acme/app@") {
		t.Errorf("log: got:\n%s\nwant the line about the status in it", log)
	}
}

func TestStepReportsThatItWasStopped(t *testing.T) {
	e := newEnv(t)
	for older, want := range map[bool]string{false: "CANCELLED", true: "FAILED"} {
		dc := &datacentertest.Server{
			Project:          "PRJ",
			Slug:             "app",
			Token:            secret.New("dc-token-canary"),
			Commits:          []string{someCommit},
			WithoutCancelled: older,
		}
		front := httptest.NewServer(dc)
		t.Cleanup(front.Close)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e.Builder.OnBuild = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
		_, err := e.runUntil(
			ctx,
			append(
				runnertest.Pipeline("https://git.example.com/scm/prj/app.git", "refs/heads/main", someCommit),
				"DRONE_REPO_NAMESPACE=PRJ",
				"PLUGIN_BITBUCKET_TOKEN=dc-token-canary",
				"PLUGIN_BITBUCKET_URL="+front.URL,
			)...)
		got := dc.StatusHistory(someCommit)
		if err == nil {
			t.Error("step: got no error, want one")
			continue
		}
		if len(got) == 0 {
			t.Fatal("statuses: got none, want one")
		}
		if got := got[len(got)-1].State; got != want {
			t.Errorf("state of the last status: got %v, want %v", got, want)
		}
	}
}

const (
	someCommit = "fb522a6f00000000000000000000000000000001"
	tagObject  = "118cc36500000000000000000000000000000002"
)

// A CI gives the object of an annotated tag as its commit.
func TestStepReportsATagToDataCenter(t *testing.T) {
	e := newEnv(t)
	dc := &datacentertest.Server{
		Context: "/bitbucket",
		Project: "PRJ",
		Slug:    "app",
		Token:   secret.New("dc-token-canary"),
		User:    "ci",
		Commits: []string{someCommit},
		Tags:    map[string]string{tagObject: someCommit},
	}
	front := httptest.NewServer(dc)
	t.Cleanup(front.Close)
	log, err := e.run(append(
		runnertest.Pipeline("https://git.example.com/bitbucket/scm/prj/app.git", "refs/tags/v1", tagObject),
		"DRONE_REPO_NAMESPACE=PRJ",
		"PLUGIN_BITBUCKET_USERNAME=ci",
		"PLUGIN_BITBUCKET_PASSWORD=dc-token-canary",
		"PLUGIN_BITBUCKET_URL="+front.URL+"/bitbucket/",
		"PLUGIN_DRY_RUN=true",
	)...)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	got := dc.StatusHistory(someCommit)
	if got := len(got); got != 2 {
		t.Errorf("statuses: got %d, want 2", got)
	}
	if got[0].State != "INPROGRESS" {
		t.Errorf("state of the first status: got %q, want %q", got[0].State, "INPROGRESS")
	}
	if got[1].State != "SUCCESSFUL" {
		t.Errorf("state of the last status: got %q, want %q", got[1].State, "SUCCESSFUL")
	}
	if got[1].Ref != "" {
		t.Errorf("ref of the last status: got %q, want %q", got[1].Ref, "")
	}
	if got[1].Parent != e.Registry.Image() {
		t.Errorf("parent of the last status: got %v, want %v", got[1].Parent, e.Registry.Image())
	}
	if !strings.HasPrefix(got[1].Description, "Built, not pushed") {
		t.Errorf("description: got %q, want the prefix %q", got[1].Description, "Built, not pushed")
	}
}

// An error of a status is one log line with the fix. It does not fail the step.
func TestStepStatusThatFailsChangesNothingElse(t *testing.T) {
	e, c := newEnv(t), newCloud(t)
	down := httptest.NewServer(
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }),
	)
	t.Cleanup(down.Close)
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(elsewhere.Close)
	moved := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	good := "PLUGIN_BITBUCKET_TOKEN=" + c.bot.Reveal()
	for name, row := range map[string]struct {
		environ []string
		want    string
	}{
		"no credential":     {nil, "none: PLUGIN_BITBUCKET_TOKEN is not set"},
		"half a credential": {[]string{"PLUGIN_BITBUCKET_USERNAME=alice@example.com"}, "none: PLUGIN_BITBUCKET_TOKEN is not set"},
		"a wrong one":       {[]string{"PLUGIN_BITBUCKET_TOKEN=wrong-canary"}, "401 Unauthorized: Token is invalid, expired, or not supported for this endpoint.; set PLUGIN_BITBUCKET_TOKEN to a repository access token"},
		"another's":         {[]string{good, "DRONE_REMOTE_URL=https://bitbucket.org/acme/web.git"}, "must be allowed to read acme/web"},
		"not at Bitbucket":  {[]string{good, "PLUGIN_BITBUCKET_URL=", "DRONE_REMOTE_URL=https://github.com/acme/app.git"}, "none: the CI clones from github.com"},
		"no commit":         {[]string{good, "DRONE_COMMIT_SHA="}, "none: the CI does not set the commit"},
		"it is down":        {[]string{good, "PLUGIN_BITBUCKET_URL=" + down.URL}, "502 Bad Gateway"},
		"no server":         {[]string{good, "PLUGIN_BITBUCKET_URL=http://127.0.0.1:1"}, "check PLUGIN_BITBUCKET_URL (http://127.0.0.1:1)"},
		"it moved":          {[]string{good, "PLUGIN_BITBUCKET_URL=" + moved.URL}, "set PLUGIN_BITBUCKET_URL to the new address"},
		"off":               {[]string{good, "PLUGIN_BITBUCKET_STATUS=off"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := e.run(slices.Concat(c.environ(), row.environ)...)
			lines := ""
			for line := range strings.Lines(log) {
				if strings.HasPrefix(line, "  status ") {
					lines += line
				}
			}
			if err != nil {
				t.Fatalf("step: %v", err)
			}
			runnertest.CheckHas(t, "the status lines", lines, row.want)
			if strings.Count(lines, "\n") > 1 {
				t.Errorf("got status lines %q, want at most one", lines)
			}
			if (row.want == "") != (lines == "") {
				t.Errorf("got lines %q, want lines: %t", lines, row.want != "")
			}
			runnertest.CheckLacks(t, "the log", log, "canary")
		})
	}
	if got := c.app.StatusHistory(c.commit); len(got) != 0 {
		t.Errorf("got statuses %+v, want none", got)
	}
	if asked {
		t.Error("redirect: got a request to its target, want none")
	}
}

// A Bitbucket that never answers holds the step up for the time that reports may take.
func TestStepDoesNotWaitForABitbucketThatHangs(t *testing.T) {
	e, c := newEnv(t), newCloud(t)
	asked := make(chan struct{}, 10)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // only then is it seen that the client left
		<-r.Context().Done()
	}))
	t.Cleanup(hanging.Close)
	e.statusTimeout = 100 * time.Millisecond
	log, err := e.run(c.environ("PLUGIN_BITBUCKET_TOKEN="+c.bot.Reveal(), "PLUGIN_BITBUCKET_URL="+hanging.URL)...)
	if err != nil {
		t.Fatalf("step: %v\n%s", err, log)
	}
	runnertest.CheckHas(t, "the log", log, "not reported; the step's result does not change: ")
	if e.Registry.Tag("latest") == "" {
		t.Error("tag latest: got no image, want one")
	}
	if len(asked) == 0 {
		t.Errorf("requests to Bitbucket: got none, want some\n%s", log)
	}
}
