package planner_test

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
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket"
	"slipway/plugin/bitbucket/bitbuckettest"
	"slipway/plugin/bitbucket/cloud"
	"slipway/plugin/planner"
	"slipway/plugin/provider"
	"slipway/plugin/store"
	"slipway/plugin/store/queue"
	"slipway/plugin/store/storetest"
)

// env is a Bitbucket with the repository acme/app, and a planner over a real store that is linked
// to it. env records the deliveries, and the test hands them to the planner.
type env struct {
	*planner.Planner
	t       *testing.T
	server  *bitbuckettest.Server
	alice   *bitbuckettest.User
	app     *bitbuckettest.Repository
	store   *store.Store
	faults  *faults
	api     *bitbucket.Client
	token   func(context.Context) (secret.Secret, error)
	account *fakeConnector
	repo    autobuild.Repository
	hook    autobuild.Hook
	now     time.Time

	mu       sync.Mutex
	recorded [][]byte
}

func newEnv(t *testing.T) *env {
	t.Helper()
	w := &env{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.openBitbucket()
	w.store = storetest.OpenAt(t, t.TempDir(), w.clock)
	source, err := w.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud"})
	must(t, err)
	w.linkAccount(source.ID)
	w.repo, err = w.account.connection.Repositories.Repository(t.Context(), "acme/app")
	must(t, err)
	w.hook, err = w.store.SaveHook(t.Context(), autobuild.Hook{
		AccountID: "account", Repository: w.repo, Secret: secret.New("s"), State: autobuild.HookActive, PolledAt: w.now,
	})
	must(t, err)
	w.recordDeliveries()
	w.Planner = w.planner(nil)
	return w
}

// planner returns a planner that checks webhooks with check.
func (w *env) planner(check func(context.Context, autobuild.Repository) error) *planner.Planner {
	return planner.New(planner.Options{
		Store: w.store, Connector: w.account, Now: w.clock, SettleAfter: time.Minute, CheckHook: check, Log: quiet(),
	})
}

func (w *env) openBitbucket() {
	server, err := bitbuckettest.New(bitbuckettest.Options{Root: w.t.TempDir(), AllowPrivateHooks: true})
	must(w.t, err)
	w.t.Cleanup(server.Close)
	listener := httptest.NewServer(server)
	w.t.Cleanup(listener.Close)
	server.SetURL(listener.URL)
	w.server, w.alice = server, server.AddUser("alice")
	w.app, err = server.AddRepository(server.AddWorkspace("acme", w.alice), "app", bitbuckettest.Private)
	must(w.t, err)
}

// linkAccount links an account to the Bitbucket with a transport that can fail on request.
func (w *env) linkAccount(providerID string) {
	consumer, err := w.server.AddConsumer(w.app.Workspace, "https://ci.example.com/oauth", "account", "repository",
		"webhook")
	must(w.t, err)
	token, _ := w.server.Link(w.alice, consumer)
	w.openAPI(w.server.URL(), token, http.DefaultTransport)
	w.connect(providerID)
}

// openAPI creates the API client of the Bitbucket at a URL.
func (w *env) openAPI(url string, token secret.Secret, transport http.RoundTripper) {
	w.token = func(context.Context) (secret.Secret, error) { return token, nil }
	w.faults = &faults{next: transport}
	var err error
	w.api, err = bitbucket.New(bitbucket.Options{
		BaseURL: url, Token: w.token, Transport: w.faults, Limiter: rate.NewLimiter(rate.Inf, 0),
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	})
	must(w.t, err)
}

// connect registers the Bitbucket as the source provider with this id.
func (w *env) connect(providerID string) {
	w.account = &fakeConnector{connection: provider.Cloud(provider.CloudOptions{
		Client: cloud.New(w.api), ProviderID: providerID, WebURL: "https://bitbucket.example.com", Token: w.token,
	})}
}

// recordDeliveries registers a webhook whose receiver stores the payloads.
func (w *env) recordDeliveries() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.recorded = append(w.recorded, body)
	}))
	w.t.Cleanup(receiver.Close)
	_, err := w.account.connection.Hooks.Ensure(w.t.Context(), w.repo,
		autobuild.Webhook{URL: receiver.URL + "/hook", Secret: secret.New("s")})
	must(w.t, err)
}

func (w *env) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// advance moves the clock forward; it is safe while polls run.
func (w *env) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// fakeConnector returns the same connection for every account. It returns err for every account,
// or only for the account broken.
type fakeConnector struct {
	connection autobuild.Connection
	err        error
	broken     string // the id of the only account that has err; empty = all accounts have it
	panics     string // the id of the account for which Connect panics
}

func (l *fakeConnector) Connect(_ context.Context, id string) (autobuild.Connection, error) {
	if l.panics != "" && id == l.panics {
		panic("nil pointer dereference")
	}
	if l.broken != "" && id != l.broken {
		return l.connection, nil
	}
	return l.connection, l.err
}

// faults is a transport that answers calls with a status if their path contains a key.
type faults struct {
	next   http.RoundTripper
	mu     sync.Mutex
	status map[string]int
	calls  []string
	before func() // runs before each call; may be nil
}

func (f *faults) set(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status == nil {
		f.status = map[string]int{}
	}
	f.status[path] = status
}

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+r.URL.Path)
	status := 0
	for path, s := range f.status {
		if strings.Contains(r.URL.Path, path) {
			status = s
		}
	}
	f.mu.Unlock()
	if f.before != nil {
		f.before()
	}
	if status == 0 {
		return f.next.RoundTrip(r)
	}
	answer := httptest.NewRecorder()
	answer.Header().Set("Retry-After", "120")
	answer.WriteHeader(status)
	return answer.Result(), nil
}

func (f *faults) count(part string) int {
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

// automate stores an automated build with rules.
func (w *env) automate(image string, rules ...autobuild.Rule) autobuild.AutomatedBuild {
	w.t.Helper()
	a, err := w.store.SaveAutomatedBuild(w.t.Context(), autobuild.AutomatedBuild{
		AccountID: "account", Repository: w.repo, Image: image, Engine: "embedded", Rules: rules,
	})
	must(w.t, err)
	return a
}

func branchRule(source, tags string) autobuild.Rule {
	r := autobuild.DefaultRule(source)
	r.Tags = tags
	return r
}

func tagRule(source, tags string) autobuild.Rule {
	r := branchRule(source, tags)
	r.SourceType = autobuild.Tag
	return r
}

// commit pushes a commit to a branch.
func (w *env) commit(branch, message string) string {
	w.t.Helper()
	hash, err := w.app.Commit(w.t.Context(), branch, map[string]string{"Dockerfile": "FROM scratch\n", "f": message},
		message)
	must(w.t, err)
	return hash
}

func (w *env) push(refs map[string]string) {
	w.t.Helper()
	must(w.t, w.app.Push(w.t.Context(), refs))
}

// bodies returns the payloads of all pushes so far.
func (w *env) bodies() [][]byte {
	w.t.Helper()
	must(w.t, w.server.WaitIdle(w.t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.recorded)
}

// receive stores a payload as a delivery of the hook and returns its id.
func (w *env) receive(hook autobuild.Hook, event string, body []byte) string {
	w.t.Helper()
	id, err := w.store.ReceiveDelivery(w.t.Context(), autobuild.Delivery{
		HookID: hook.ID, Event: event, Body: body, ReceivedAt: w.clock(), State: autobuild.DeliveryReceived,
	})
	must(w.t, err)
	return id
}

// plan receives a push and plans it.
func (w *env) plan(body []byte) autobuild.Delivery {
	w.t.Helper()
	id := w.receive(w.hook, "repo:push", body)
	must(w.t, w.Deliver(w.t.Context(), id))
	return w.delivery(id)
}

// planAll plans every recorded push that was not planned yet, in order.
func (w *env) planAll() []autobuild.Delivery {
	w.t.Helper()
	var planned []autobuild.Delivery
	for _, body := range w.bodies() {
		planned = append(planned, w.plan(body))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recorded = nil
	return planned
}

func (w *env) delivery(id string) autobuild.Delivery {
	w.t.Helper()
	d, err := w.store.Delivery(w.t.Context(), id)
	must(w.t, err)
	return d
}

// builds returns all builds, oldest first.
func (w *env) builds() []autobuild.Build {
	w.t.Helper()
	all, err := w.store.Builds(w.t.Context(), autobuild.BuildFilter{Limit: 1000})
	must(w.t, err)
	slices.Reverse(all)
	return all
}

// commits returns the commits of all builds, oldest first.
func (w *env) commits() []string {
	w.t.Helper()
	hashes := []string{}
	for _, b := range w.builds() {
		hashes = append(hashes, b.Commit.Hash)
	}
	return hashes
}

func (w *env) state(ref autobuild.Ref) autobuild.RefState {
	w.t.Helper()
	s, err := w.store.RefState(w.t.Context(), w.repo, ref)
	if !errors.Is(err, autobuild.ErrNotFound) {
		must(w.t, err)
	}
	return s
}

func (w *env) wantCommits(want ...string) {
	w.t.Helper()
	if got := w.commits(); !slices.Equal(got, want) {
		w.t.Errorf("builds of %v, want %v", got, want)
	}
}

func branch(name string) autobuild.Ref { return autobuild.Ref{Kind: autobuild.Branch, Name: name} }
func tag(name string) autobuild.Ref    { return autobuild.Ref{Kind: autobuild.Tag, Name: name} }

func wantSnooze(t *testing.T, err error, want time.Duration) {
	t.Helper()
	if got, ok := queue.SnoozedFor(err); !ok || got != want {
		t.Errorf("error %v, want a snooze of %s", err, want)
	}
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bitbuckettestCommit(message string) bitbuckettest.NewCommit {
	return bitbuckettest.NewCommit{Files: map[string]string{"Dockerfile": "FROM scratch\n"}, Message: message}
}
