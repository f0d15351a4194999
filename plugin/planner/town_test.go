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

// town is a Bitbucket with acme/app, whose pushes are caught for the test to hand over, and a
// planner over a real store that is linked to it.
type town struct {
	*planner.Planner
	t       *testing.T
	server  *bitbuckettest.Server
	alice   *bitbuckettest.User
	app     *bitbuckettest.Repository
	store   *store.Store
	faults  *faults
	api     *bitbucket.Client
	token   func(context.Context) (secret.Secret, error)
	account *linked
	repo    autobuild.Repository
	hook    autobuild.Hook
	now     time.Time

	mu     sync.Mutex
	caught [][]byte
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w.openBitbucket()
	w.store = storetest.OpenAt(t, t.TempDir(), w.clock)
	source, err := w.store.SaveProvider(t.Context(), autobuild.Provider{Kind: autobuild.Cloud, Name: "bitbucket-cloud"})
	must(t, err)
	w.link(source.ID)
	w.repo, err = w.account.connection.Repositories.Repository(t.Context(), "acme/app")
	must(t, err)
	w.hook, err = w.store.SaveHook(t.Context(), autobuild.Hook{
		AccountID: "account", Repository: w.repo, Secret: secret.New("s"), State: autobuild.HookActive, PolledAt: w.now,
	})
	must(t, err)
	w.catch()
	w.Planner = w.planner(nil)
	return w
}

// planner is that of a gateway that looks after webhooks in this way.
func (w *town) planner(check func(context.Context, autobuild.Repository) error) *planner.Planner {
	return planner.New(planner.Options{
		Store: w.store, Connector: w.account, Now: w.clock, SettleAfter: time.Minute, CheckHook: check, Log: quiet(),
	})
}

func (w *town) openBitbucket() {
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

// link connects an account to the Bitbucket, through a transport that can be made to fail.
func (w *town) link(providerID string) {
	consumer, err := w.server.AddConsumer(w.app.Workspace, "https://ci.example.com/oauth", "account", "repository", "webhook")
	must(w.t, err)
	token, _ := w.server.Link(w.alice, consumer)
	w.openAPI(w.server.URL(), token, http.DefaultTransport)
	w.connect(providerID)
}

// openAPI makes the client of the Bitbucket at an address.
func (w *town) openAPI(url string, token secret.Secret, transport http.RoundTripper) {
	w.token = func(context.Context) (secret.Secret, error) { return token, nil }
	w.faults = &faults{next: transport}
	var err error
	w.api, err = bitbucket.New(bitbucket.Options{
		BaseURL: url, Token: w.token, Transport: w.faults, Limiter: rate.NewLimiter(rate.Inf, 0),
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	})
	must(w.t, err)
}

// connect shows the Bitbucket as a source provider of this id.
func (w *town) connect(providerID string) {
	w.account = &linked{connection: provider.Cloud(provider.CloudOptions{
		Client: cloud.New(w.api), ProviderID: providerID, WebURL: "https://bitbucket.example.com", Token: w.token,
	})}
}

// catch registers a webhook that keeps what it is sent.
func (w *town) catch() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.caught = append(w.caught, body)
	}))
	w.t.Cleanup(receiver.Close)
	_, err := w.account.connection.Hooks.Ensure(w.t.Context(), w.repo, autobuild.Webhook{URL: receiver.URL + "/hook", Secret: secret.New("s")})
	must(w.t, err)
}

func (w *town) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass while polls run.
func (w *town) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// linked is a connector whose accounts all see the same; err is of all, or of the one named.
type linked struct {
	connection autobuild.Connection
	err        error
	broken     string // the id of the only account that has err; empty = all have
	panics     string // the id of the account that is met with a panic
}

func (l *linked) Connect(_ context.Context, id string) (autobuild.Connection, error) {
	if l.panics != "" && id == l.panics {
		panic("nil pointer dereference")
	}
	if l.broken != "" && id != l.broken {
		return l.connection, nil
	}
	return l.connection, l.err
}

// faults is a transport that answers calls whose path contains a key with a status.
type faults struct {
	next   http.RoundTripper
	mu     sync.Mutex
	status map[string]int
	calls  []string
	before func() // each call; may be nil
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

// automate saves an automated build with rules.
func (w *town) automate(image string, rules ...autobuild.Rule) autobuild.AutomatedBuild {
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
func (w *town) commit(branch, message string) string {
	w.t.Helper()
	hash, err := w.app.Commit(w.t.Context(), branch, map[string]string{"Dockerfile": "FROM scratch\n", "f": message}, message)
	must(w.t, err)
	return hash
}

func (w *town) push(refs map[string]string) {
	w.t.Helper()
	must(w.t, w.app.Push(w.t.Context(), refs))
}

// bodies returns the payloads of all pushes so far.
func (w *town) bodies() [][]byte {
	w.t.Helper()
	must(w.t, w.server.WaitIdle(w.t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.caught)
}

// receive stores a payload as a delivery of the hook and returns its id.
func (w *town) receive(hook autobuild.Hook, event string, body []byte) string {
	w.t.Helper()
	id, err := w.store.ReceiveDelivery(w.t.Context(), autobuild.Delivery{
		HookID: hook.ID, Event: event, Body: body, ReceivedAt: w.clock(), State: autobuild.DeliveryReceived,
	})
	must(w.t, err)
	return id
}

// plan receives a push and plans it.
func (w *town) plan(body []byte) autobuild.Delivery {
	w.t.Helper()
	id := w.receive(w.hook, "repo:push", body)
	must(w.t, w.Deliver(w.t.Context(), id))
	return w.delivery(id)
}

// planAll plans every push so far that was not planned yet, in order.
func (w *town) planAll() []autobuild.Delivery {
	w.t.Helper()
	var planned []autobuild.Delivery
	for _, body := range w.bodies() {
		planned = append(planned, w.plan(body))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.caught = nil
	return planned
}

func (w *town) delivery(id string) autobuild.Delivery {
	w.t.Helper()
	d, err := w.store.Delivery(w.t.Context(), id)
	must(w.t, err)
	return d
}

// builds returns all builds, oldest first.
func (w *town) builds() []autobuild.Build {
	w.t.Helper()
	all, err := w.store.Builds(w.t.Context(), store.BuildFilter{Limit: 1000})
	must(w.t, err)
	slices.Reverse(all)
	return all
}

// commits returns the commits of all builds, oldest first.
func (w *town) commits() []string {
	w.t.Helper()
	hashes := []string{}
	for _, b := range w.builds() {
		hashes = append(hashes, b.Commit.Hash)
	}
	return hashes
}

func (w *town) state(ref autobuild.Ref) autobuild.RefState {
	w.t.Helper()
	s, err := w.store.RefState(w.t.Context(), w.repo, ref)
	if !errors.Is(err, autobuild.ErrNotFound) {
		must(w.t, err)
	}
	return s
}

func (w *town) wantCommits(want ...string) {
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
