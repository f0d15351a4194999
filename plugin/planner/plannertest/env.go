// Package plannertest is the environment that tests of the planner and the reconciler share.
package plannertest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"slipway/config/discard"
	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/planner"
	"slipway/plugin/provider"
	"slipway/plugin/reconciler"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// An Env is a Bitbucket with the repository acme/app, and a planner and a reconciler over a real
// Store that are linked to it. It records the deliveries, and the test passes them to the planner.
type Env struct {
	*planner.Planner
	*reconciler.Reconciler

	T       *testing.T
	Server  *bitbuckettest.Server
	Alice   *bitbuckettest.User
	App     *bitbuckettest.Repository
	Store   *store.Store
	Faults  *Faults
	Account *Connector
	Repo    autobuild.Repository
	Hook    autobuild.Hook

	api   *bitbucket.Client
	token func(context.Context) (secret.Secret, error)

	mu       sync.Mutex
	now      time.Time
	recorded [][]byte
}

// New returns a started Env.
func New(t *testing.T) *Env {
	t.Helper()
	return start(t, NewStore(t), bitbuckettest.Options{})
}

// NewLimited returns a started Env whose Bitbucket allows this number of requests per hour of the Env's
// clock.
func NewLimited(t *testing.T, requests int) *Env {
	t.Helper()
	e := NewStore(t)
	return start(t, e, bitbuckettest.Options{RequestLimit: requests, Now: e.Clock, TokenTTL: 1000 * time.Hour})
}

func start(t *testing.T, e *Env, options bitbuckettest.Options) *Env {
	t.Helper()
	e.openBitbucket(options)
	source, err := e.Store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud"})
	must.Succeed(t, err)
	e.linkAccount(source.ID)
	e.Repo, err = e.Account.Connection.Repositories.Repository(t.Context(), "acme/app")
	must.Succeed(t, err)
	e.Hook, err = e.Store.SaveHook(t.Context(), autobuild.Hook{
		AccountID: "account", Repository: e.Repo, Secret: secret.New("s"), State: autobuild.HookActive, PolledAt: e.now,
	})
	must.Succeed(t, err)
	e.RecordDeliveries()
	e.Restart(nil)
	return e
}

// NewStore returns an Env with only a clock and a store.
func NewStore(t *testing.T) *Env {
	t.Helper()
	e := &Env{T: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	e.Store = storetest.OpenAt(t, t.TempDir(), e.Clock)
	return e
}

// Restart replaces the planner and the reconciler, so that their state in memory is lost as after a
// process restart. check checks webhooks; nil means no check.
func (e *Env) Restart(check func(context.Context, autobuild.Repository) error) {
	log := discard.Logger()
	requests := reconciler.NewRequests(reconciler.RequestOptions{
		Hooks: e.Store, Now: e.Clock, SettleAfter: time.Minute,
	})
	e.Planner = planner.New(planner.Options{
		Store: e.Store, Connector: e.Account, Polls: requests, Now: e.Clock, Log: log,
	})
	e.Reconciler = reconciler.New(reconciler.Options{
		Store: e.Store, Planner: e.Planner, Requests: requests, Now: e.Clock, CheckHook: check, Log: log,
	})
}

func (e *Env) openBitbucket(options bitbuckettest.Options) {
	options.Root, options.AllowPrivateHooks, options.UnstableOrder = e.T.TempDir(), true, true
	server, err := bitbuckettest.New(options)
	must.Succeed(e.T, err)
	e.T.Cleanup(server.Close)
	listener := httptest.NewServer(server)
	e.T.Cleanup(listener.Close)
	server.SetURL(listener.URL)
	e.Server, e.Alice = server, server.AddUser("alice")
	e.App, err = server.AddRepository(server.AddWorkspace("acme", e.Alice), "app", bitbuckettest.Private)
	must.Succeed(e.T, err)
}

// linkAccount links an account to the Bitbucket with a transport that can fail on request.
func (e *Env) linkAccount(providerID string) {
	consumer, err := e.Server.AddConsumer(e.App.Workspace, "https://ci.example.com/oauth", "account", "repository",
		"webhook")
	must.Succeed(e.T, err)
	token, _ := e.Server.Link(e.Alice, consumer)
	e.OpenAPI(e.Server.URL(), token, http.DefaultTransport)
	e.Connect(providerID)
}

// OpenAPI creates the API client of the Bitbucket at a URL.
func (e *Env) OpenAPI(url string, token secret.Secret, transport http.RoundTripper) {
	e.token = func(context.Context) (secret.Secret, error) { return token, nil }
	e.Faults = &Faults{next: transport}
	var err error
	e.api, err = bitbucket.New(bitbucket.Options{
		BaseURL: url, Token: e.token, Transport: e.Faults, Limiter: rate.NewLimiter(rate.Inf, 0),
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	})
	must.Succeed(e.T, err)
}

// Connect registers the Bitbucket as the source provider with this id.
func (e *Env) Connect(providerID string) {
	e.Account = &Connector{Connection: provider.Cloud(provider.CloudOptions{
		Client: cloud.New(e.api), ProviderID: providerID, WebURL: "https://bitbucket.example.com", Token: e.token,
	})}
}

// RecordDeliveries registers a webhook whose receiver stores the payloads.
func (e *Env) RecordDeliveries() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		e.mu.Lock()
		defer e.mu.Unlock()
		e.recorded = append(e.recorded, body)
	}))
	e.T.Cleanup(receiver.Close)
	_, err := e.Account.Connection.Hooks.Ensure(e.T.Context(), e.Repo,
		autobuild.Webhook{URL: receiver.URL + "/hook", Secret: secret.New("s")})
	must.Succeed(e.T, err)
}

// Clock returns the time of the Env. It is safe for concurrent use.
func (e *Env) Clock() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// Advance moves the clock forward; it is safe while polls run.
func (e *Env) Advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.now.Add(d)
}

// A Connector returns the same connection for every account. It returns Err for every account, or
// only for the account Broken.
type Connector struct {
	Connection autobuild.Connection
	Err        error
	Broken     string // the id of the only account that has Err; empty means all accounts have it
	Panics     string // the id of the account for which Connect panics
}

// Connect returns the connection, or the error of the account.
func (c *Connector) Connect(_ context.Context, id string) (autobuild.Connection, error) {
	if c.Panics != "" && id == c.Panics {
		panic("nil pointer dereference")
	}
	if c.Broken != "" && id != c.Broken {
		return c.Connection, nil
	}
	return c.Connection, c.Err
}

// Faults is a transport that returns a status if their path contains a key.
type Faults struct {
	next   http.RoundTripper
	mu     sync.Mutex
	status map[string]int
	calls  []string
	Before func() // runs before each call; may be nil
}

// Set makes calls whose path contains path fail with a status. 0 means they succeed again.
func (f *Faults) Set(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status == nil {
		f.status = map[string]int{}
	}
	f.status[path] = status
}

// RoundTrip implements http.RoundTripper.
func (f *Faults) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	status := 0
	for path, s := range f.status {
		if strings.Contains(r.URL.Path, path) {
			status = s
		}
	}
	f.mu.Unlock()
	if f.Before != nil {
		f.Before()
	}
	if status == 0 {
		return f.next.RoundTrip(r)
	}
	response := httptest.NewRecorder()
	response.Header().Set("Retry-After", "120")
	response.WriteHeader(status)
	return response.Result(), nil
}

// Count returns the number of calls whose method and path contain part.
func (f *Faults) Count(part string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.Contains(c, part) {
			n++
		}
	}
	return n
}

// Automate stores an automated build with rules.
func (e *Env) Automate(image string, rules ...autobuild.Rule) autobuild.AutomatedBuild {
	e.T.Helper()
	a, err := e.Store.SaveAutomatedBuild(e.T.Context(), autobuild.AutomatedBuild{
		AccountID: "account", Repository: e.Repo, Image: image, Engine: "embedded", Rules: rules,
	})
	must.Succeed(e.T, err)
	return a
}

// BranchRule returns a rule for branches.
func BranchRule(source, tags string) autobuild.Rule {
	r := autobuild.DefaultRule(source)
	r.Tags = tags
	return r
}

// TagRule returns a rule for tags.
func TagRule(source, tags string) autobuild.Rule {
	r := BranchRule(source, tags)
	r.SourceType = autobuild.Tag
	return r
}

// Commit pushes a commit to a branch.
func (e *Env) Commit(branch, message string) string {
	e.T.Helper()
	hash, err := e.App.Commit(e.T.Context(), branch, map[string]string{"Dockerfile": "FROM scratch\n", "f": message},
		message)
	must.Succeed(e.T, err)
	return hash
}

// Push moves refs; an empty hash deletes one.
func (e *Env) Push(refs map[string]string) {
	e.T.Helper()
	must.Succeed(e.T, e.App.Push(e.T.Context(), refs))
}

// Bodies returns the payloads of all pushes so far.
func (e *Env) Bodies() [][]byte {
	e.T.Helper()
	must.Succeed(e.T, e.Server.WaitIdle(e.T.Context()))
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.recorded)
}

// TakeBodies returns and removes the recorded payloads.
func (e *Env) TakeBodies() [][]byte {
	e.T.Helper()
	bodies := e.Bodies()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recorded = nil
	return bodies
}

// Receive stores a payload as a delivery of the hook and returns its id.
func (e *Env) Receive(hook autobuild.Hook, event string, body []byte) string {
	e.T.Helper()
	id, err := e.Store.ReceiveDelivery(e.T.Context(), autobuild.Delivery{
		HookID: hook.ID, Event: event, Body: body, ReceivedAt: e.Clock(), State: autobuild.DeliveryReceived,
	})
	must.Succeed(e.T, err)
	return id
}

// Plan receives a push and plans it.
func (e *Env) Plan(body []byte) autobuild.Delivery {
	e.T.Helper()
	id := e.Receive(e.Hook, "repo:push", body)
	must.Succeed(e.T, e.Deliver(e.T.Context(), id))
	return e.Delivery(id)
}

// PlanAll plans every recorded push that was not planned yet, in order.
func (e *Env) PlanAll() []autobuild.Delivery {
	e.T.Helper()
	var planned []autobuild.Delivery
	for _, body := range e.TakeBodies() {
		planned = append(planned, e.Plan(body))
	}
	return planned
}

// Delivery returns a stored delivery.
func (e *Env) Delivery(id string) autobuild.Delivery {
	e.T.Helper()
	d, err := e.Store.Delivery(e.T.Context(), id)
	must.Succeed(e.T, err)
	return d
}

// Builds returns all builds, oldest first.
func (e *Env) Builds() []autobuild.Build {
	e.T.Helper()
	all, err := e.Store.Builds(e.T.Context(), autobuild.BuildFilter{Limit: 1000})
	must.Succeed(e.T, err)
	slices.Reverse(all)
	return all
}

// Commits returns the commits of all builds, oldest first.
func (e *Env) Commits() []string {
	e.T.Helper()
	hashes := []string{}
	for _, b := range e.Builds() {
		hashes = append(hashes, b.Commit.Hash)
	}
	return hashes
}

// State returns the accepted state of a ref, zero if it was never seen.
func (e *Env) State(ref autobuild.Ref) autobuild.RefState {
	e.T.Helper()
	s, err := e.Store.RefState(e.T.Context(), e.Repo, ref)
	if !errors.Is(err, autobuild.ErrNotFound) {
		must.Succeed(e.T, err)
	}
	return s
}

// WantCommits checks the commits of all builds, oldest first.
func (e *Env) WantCommits(want ...string) {
	e.T.Helper()
	if got := e.Commits(); !slices.Equal(got, want) {
		e.T.Errorf("commits with a build: got %v, want %v", got, want)
	}
}

// Branch returns the ref of a branch.
func Branch(name string) autobuild.Ref { return autobuild.Ref{Kind: autobuild.Branch, Name: name} }

// Tag returns the ref of a tag.
func Tag(name string) autobuild.Ref { return autobuild.Ref{Kind: autobuild.Tag, Name: name} }
