package gitproxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/netpolicy"
	"slipway/config/secret"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/bitbuckettest/faults"
	"slipway/plugin/gitproxy"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// env is a Bitbucket with the private repository acme/app, a gateway whose account reads it, and
// the git proxy over HTTP.
type env struct {
	t        testing.TB
	server   *bitbuckettest.Server
	faults   *faults.Faults
	alice    *bitbuckettest.User
	consumer *bitbuckettest.Consumer
	acme     *bitbuckettest.Workspace
	repo     *bitbuckettest.Repository
	commit   string // newest of main

	store    *store.Store
	accounts *accounts.Accounts
	account  autobuild.Account
	proxy    *gitproxy.Proxy
	gateway  *httptest.Server
	log      *lockedBuffer

	build autobuild.Build
	token string // of the build's attempt

	mu       sync.Mutex
	seen     []*http.Request // by the fake Bitbucket's git
	answered []http.Header   // by the proxy
	running  sync.WaitGroup  // requests in the proxy
	arrived  atomic.Int32    // requests at the fake Bitbucket, held ones included
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newEnv(t testing.TB, change ...func(*gitproxy.Options)) *env {
	t.Helper()
	e := &env{t: t, log: &lockedBuffer{}}
	var err error
	e.server, err = bitbuckettest.New(bitbuckettest.Options{Root: t.TempDir()})
	e.must(err)
	t.Cleanup(e.server.Close)
	e.faults = faults.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/2.0/") && !strings.HasPrefix(r.URL.Path, "/site/") {
			e.mu.Lock()
			e.seen = append(e.seen, r.Clone(context.WithoutCancel(r.Context())))
			e.mu.Unlock()
		}
		e.server.ServeHTTP(w, r)
	}))
	bitbucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.arrived.Add(1)
		e.faults.ServeHTTP(w, r)
	}))
	t.Cleanup(bitbucket.Close)
	e.server.SetURL(bitbucket.URL)
	e.alice = e.server.AddUser("alice")
	e.acme = e.server.AddWorkspace("acme", e.alice)
	e.repo, err = e.server.AddRepository(e.acme, "app", bitbuckettest.Private)
	e.must(err)
	e.consumer, err = e.server.AddConsumer(e.acme, "https://ci.example.com/cb", "account", "repository")
	e.must(err)

	e.store = storetest.Open(t)
	log := logrus.New()
	log.SetOutput(e.log)
	log.SetLevel(logrus.TraceLevel)
	e.accounts = accounts.New(accounts.Options{Store: e.store, URL: "https://ci.example.com", Log: log})
	e.link(bitbucket.URL)
	o := gitproxy.Options{
		Store:     e.store,
		Connector: e.accounts,
		BaseURL:   func(string) string { return e.gateway.URL },
		Log:       log,
		Policy: netpolicy.Policy{
			Allow: []string{strings.TrimPrefix(bitbucket.URL, "http://")},
		},
		Check: 10 * time.Millisecond,
	}
	for _, c := range change {
		c(&o)
	}
	e.proxy = gitproxy.New(o)
	t.Cleanup(e.proxy.Close)
	e.gateway = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.gateway.Close)
	e.commit = e.push(map[string]string{"Dockerfile": "FROM scratch\n"})
	e.build, e.token = e.start(e.commit)
	return e
}

func (e *env) link(bitbucket string) {
	e.t.Helper()
	p, err := e.store.SaveProvider(e.t.Context(), autobuild.Provider{
		Kind:         autobuild.Cloud,
		Name:         "cloud",
		WebURL:       bitbucket,
		APIURL:       bitbucket,
		ClientID:     e.consumer.Key,
		ClientSecret: e.consumer.Secret,
	})
	e.must(err)
	access, refresh := e.server.Link(e.alice, e.consumer)
	e.account, err = e.store.SaveAccount(e.t.Context(), autobuild.Account{
		ProviderID: p.ID, Kind: autobuild.AccountOAuth, Name: "alice", RemoteID: e.alice.UUID,
		AccessToken: access, RefreshToken: refresh, ExpiresAt: time.Now().Add(2 * time.Hour),
	})
	e.must(err)
}

// serve returns the proxy's handler, as the gateway's HTTP server uses it.
func (e *env) serve(w http.ResponseWriter, r *http.Request) {
	e.running.Add(1)
	defer e.running.Done()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.answered = append(e.answered, w.Header().Clone())
	}()
	err := e.proxy.Serve(w, r)
	var refusal *gitproxy.Refusal
	switch {
	case err == nil:
	case errors.As(err, &refusal):
		if refusal.RetryAfter > 0 {
			w.Header().Set("Retry-After", refusal.RetryAfter.String())
		}
		gitproxy.WriteError(w, r.URL.Path, refusal.Status, refusal.Message)
	default:
		e.t.Errorf("Serve: got error %v, want a *Refusal", err)
	}
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// push commits files to main and returns the commit.
func (e *env) push(files map[string]string) string {
	e.t.Helper()
	commit, err := e.repo.Commit(e.t.Context(), "main", files, "A change")
	e.must(err)
	return commit
}

// start creates a build of a commit with a new automated build, and starts its attempt.
func (e *env) start(commit string) (autobuild.Build, string) {
	e.t.Helper()
	owner, err := e.store.SaveAutomatedBuild(e.t.Context(), autobuild.AutomatedBuild{
		AccountID: e.account.ID,
		Image:     "registry.example.com/acme/app",
		Engine:    "embedded",
		Repository: autobuild.Repository{
			ProviderID:  e.account.ProviderID,
			ID:          e.repo.UUID,
			WorkspaceID: e.acme.UUID,
			FullName:    e.repo.FullName(),
		},
		Rules: []autobuild.Rule{autobuild.DefaultRule("main")},
	})
	e.must(err)
	b, _, err := e.store.CreateBuild(
		e.t.Context(),
		storetest.Draft(owner, storetest.Main(), commit, autobuild.CauseManual),
	)
	e.must(err)
	token := "attempt-canary-" + rand.Text()
	_, err = e.store.StartAttempt(
		e.t.Context(),
		b.ID,
		"embedded",
		autobuild.TokenHash(secret.New(token)),
		time.Now().Add(time.Hour),
		autobuild.Limits{},
	)
	e.must(err)
	e.must(e.store.ClaimAttempt(e.t.Context(), b.ID, 1, "runner"))
	return b, token
}

// finish ends the attempt in the store, as another gateway of the database can.
func (e *env) finish() {
	e.t.Helper()
	_, err := e.store.FinishAttempt(
		e.t.Context(),
		autobuild.Finish{BuildID: e.build.ID, Attempt: 1, State: autobuild.Failed},
	)
	e.must(err)
}

func (e *env) url() string { return e.gateway.URL + "/git/" + e.build.ID }

// fetch fetches the build's commit like the runner.
func (e *env) fetch() (source.Tree, error) {
	dir := e.t.TempDir()
	s := spec.Source{URL: e.repo.CloneURL(), Ref: "refs/heads/main", RefName: "main", Commit: e.commit}
	return source.Fetch(e.t.Context(), s, source.Proxy{URL: e.url(), Token: secret.New(e.token)}, source.Options{
		Dir: dir + "/src", Home: dir, Environ: os.Environ(), Attempts: 1,
	})
}

// git runs git with the attempt's token, directly on the proxy.
func (e *env) git(args ...string) (string, error) {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv(
			"PATH",
		),
		"HOME=" + e.t.TempDir(),
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a",
		"GIT_AUTHOR_EMAIL=a@b",
		"GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@b",
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=http." + e.gateway.URL + "/.extraHeader",
		"GIT_CONFIG_VALUE_0=Authorization: Bearer " + e.token,
		"GIT_CONFIG_KEY_1=http." + e.gateway.URL + "/.proxy",
		"GIT_CONFIG_VALUE_1=",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// do sends one request to the proxy, to a path of the build.
func (e *env) do(method, rest string, body []byte, change ...func(*http.Request)) *http.Response {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, e.url()+rest, bytes.NewReader(body))
	e.must(err)
	r.Header.Set("Authorization", "Bearer "+e.token)
	r.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	for _, c := range change {
		c(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	e.must(err)
	e.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// upstream returns the requests that the fake Bitbucket's git server got, oldest first.
func (e *env) upstream() []*http.Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*http.Request(nil), e.seen...)
}

// current returns the account's current access token.
func (e *env) current() string {
	e.t.Helper()
	a, err := e.store.Account(e.t.Context(), e.account.ID)
	e.must(err)
	return a.AccessToken.Reveal()
}

const (
	refs = "/info/refs?service=git-upload-pack"
	pack = "/git-upload-pack"
)

// hostOf returns "host:port" of a test server's URL.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
