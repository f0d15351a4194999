package reporter_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest"
	trouble "slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/provider"
	"slipway/plugin/reporter"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// env is a Bitbucket with one commit of acme/app, and a reporter with a real store.
type env struct {
	*reporter.Reporter
	t       *testing.T
	server  *bitbuckettest.Server
	front   *trouble.Faults // injects faults in front of the server
	app     *bitbuckettest.Repository
	repo    autobuild.Repository
	commit  autobuild.Commit
	dir     string // data directory of the store
	store   *store.Store
	owner   autobuild.AutomatedBuild
	account *fakeConnector
	faults  *faults
	mu      sync.Mutex // protects now in tests that advance it during reports
	now     time.Time
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvWithClient(t, bitbucket.Options{Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} }})
}

// newEnvWithClient returns an env whose API client has these options.
func newEnvWithClient(t *testing.T, calls bitbucket.Options) *env {
	t.Helper()
	return newEnvWithStore(t, calls, storetest.OpenAt)
}

// newEnvWithStore returns an env whose store is opened by open.
func newEnvWithStore(
	t *testing.T, calls bitbucket.Options, open func(t testing.TB, dir string, now func() time.Time) *store.Store,
) *env {
	t.Helper()
	o := &env{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), faults: &faults{}}
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	must.Succeed(t, err)
	t.Cleanup(server.Close)
	o.server, o.front = server, trouble.New(server)
	listener := httptest.NewServer(o.front)
	t.Cleanup(listener.Close)
	server.SetURL(listener.URL)
	alice := server.AddUser("alice")
	o.app, err = server.AddRepository(server.AddWorkspace("acme", alice), "app", bitbuckettest.Private)
	must.Succeed(t, err)
	consumer, err := server.AddConsumer(o.app.Workspace, "https://ci.example.com/oauth", "account", "repository")
	must.Succeed(t, err)
	token, _ := server.Link(alice, consumer)
	source := func(context.Context) (secret.Secret, error) { return token, nil }
	calls.BaseURL, calls.Token, calls.Transport = listener.URL, source, o.faults
	api, err := bitbucket.New(calls)
	must.Succeed(t, err)
	o.dir = t.TempDir()
	o.store = open(t, o.dir, o.clock)
	cloudProvider, err := o.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "cloud"})
	must.Succeed(t, err)
	o.account = &fakeConnector{connection: provider.Cloud(provider.CloudOptions{
		Client: cloud.New(api), ProviderID: cloudProvider.ID, WebURL: listener.URL, Token: source,
	})}
	o.repo, err = o.account.connection.Repositories.Repository(t.Context(), "acme/app")
	must.Succeed(t, err)
	o.commit.Hash, err = o.app.Commit(t.Context(), "main", map[string]string{"Dockerfile": "FROM scratch\n"}, "A")
	must.Succeed(t, err)
	o.owner, err = o.store.SaveAutomatedBuild(t.Context(),
		autobuild.AutomatedBuild{AccountID: "account", Repository: o.repo, Image: "r/app"})
	must.Succeed(t, err)
	o.Reporter = o.reporter(o.store)
	return o
}

// reporter returns the reporter of one gateway.
func (o *env) reporter(s *store.Store) *reporter.Reporter {
	return reporter.New(reporter.Options{
		Store: s, Connector: o.account, URL: "https://slipway.example.com", Now: o.clock, Log: discard.Logger(),
	})
}

func (o *env) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *env) advance(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

type fakeConnector struct {
	connection autobuild.Connection
	err        error
}

func (l *fakeConnector) Connect(context.Context, string) (autobuild.Connection, error) {
	return l.connection, l.err
}

// faults is a transport that answers calls for statuses with an HTTP code, if one is set.
type faults struct {
	mu     sync.Mutex
	status int
	calls  int
	before func() // called before a status goes out; nil means nothing
}

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.before != nil && strings.Contains(r.URL.Path, "/statuses/") {
		f.before()
	}
	status := 0
	if strings.Contains(r.URL.Path, "/statuses/") {
		f.mu.Lock()
		f.calls++
		status = f.status
		f.mu.Unlock()
	}
	if status == 0 {
		return http.DefaultTransport.RoundTrip(r)
	}
	response := httptest.NewRecorder()
	response.Header().Set("Retry-After", "120")
	response.WriteHeader(status)
	return response.Result(), nil
}

func (f *faults) set(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (o *env) build(rule string, ref autobuild.Ref) autobuild.Build {
	o.t.Helper()
	b, _, err := o.store.CreateBuild(o.t.Context(), autobuild.Build{
		AutomatedBuildID: o.owner.ID, RuleID: rule, Repository: o.repo, Ref: ref, Commit: o.commit,
		Image: "r/app", Tags: []string{"1.2", "latest"}, Publish: true, Cause: autobuild.CauseManual,
	})
	must.Succeed(o.t, err)
	return b
}

// run starts and claims an attempt of a build, and returns the attempt.
func (o *env) run(b autobuild.Build) autobuild.Attempt {
	o.t.Helper()
	a, err := o.store.StartAttempt(
		o.t.Context(),
		b.ID,
		"embedded",
		"hash"+b.ID,
		o.now.Add(time.Hour),
		autobuild.Limits{},
	)
	must.Succeed(o.t, err)
	must.Succeed(o.t, o.store.ClaimAttempt(o.t.Context(), b.ID, a.Number, "runner"))
	return a
}

func (o *env) finish(a autobuild.Attempt, state autobuild.State, reason autobuild.Reason, detail string) {
	o.t.Helper()
	_, err := o.store.FinishAttempt(o.t.Context(), autobuild.Finish{
		BuildID: a.BuildID, Attempt: a.Number, State: state, Reason: reason, Detail: detail, Digest: "sha256:1",
	})
	must.Succeed(o.t, err)
}

func (o *env) report(b autobuild.Build) {
	o.t.Helper()
	must.Succeed(o.t, o.Report(o.t.Context(), b.ID))
}

func (o *env) history() []string {
	o.t.Helper()
	lines := []string{}
	for _, s := range o.app.StatusHistory(o.commit.Hash) {
		lines = append(lines, s.State+" "+s.Description)
	}
	return lines
}

func (o *env) wantHistory(want ...string) {
	o.t.Helper()
	if diff := cmp.Diff(want, o.history()); diff != "" {
		o.t.Errorf("statuses (-want +got)\n%s", diff)
	}
}

var (
	main1 = autobuild.Ref{Kind: autobuild.Branch, Name: "main"}
	v1    = autobuild.Ref{Kind: autobuild.Tag, Name: "v1"}
	v2    = autobuild.Ref{Kind: autobuild.Tag, Name: "v2"}
)
