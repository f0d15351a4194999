package woodpecker_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// env is an engine on a fake server, with a build that was just started. The server's agent starts
// nothing before Release. Steps run a script.
type env struct {
	*woodpecker.Engine
	t          *testing.T
	repository string
	server     *woodpeckertest.Server
	builder    *woodpeckertest.Repository // acme/builder, active
	app        *woodpeckertest.Repository // acme/app, the build's repository, not active
	token      secret.Secret
	proxy      *proxy // between the engine and the server
	api        string // URL of the server
	clock      *clock
	faults     *faultyStore
	store      *store.Store
	build      autobuild.Build
	gateway    http.Handler
	extensions string // URL of the gateway's extensions
	log        *bytes.Buffer
}

// newEnv returns an env that runs pipelines in the given builder repository, or in each repository
// if it is empty. script is the program of the step's image.
func newEnv(t *testing.T, repository, script string) *env {
	t.Helper()
	return newEnvWith(t, repository, script, pipeline.Step{
		URL: func(id string) string { return "https://slipway.example.com/runner/v1/builds/" + id }, Image: "slipway",
	})
}

func newEnvWith(t *testing.T, repository, script string, step pipeline.Step) *env {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	must.Succeed(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700))
	e := &env{t: t, repository: repository, clock: &clock{}, log: &bytes.Buffer{}}
	e.server = woodpeckertest.New(woodpeckertest.Options{
		Program:   func(string) string { return program },
		HasBranch: func(_, branch string) bool { return branch == "main" || branch == "topic" },
	})
	e.server.Hold()
	t.Cleanup(e.server.Close)
	e.builder, e.app = e.server.AddRepository("acme/builder", "main"), e.server.AddRepository("acme/app", "main")
	e.server.Activate(e.builder)
	e.token = e.server.AddUser("slipway")
	e.proxy = &proxy{to: e.server, requests: map[string]int{}}
	api := httptest.NewServer(e.proxy)
	t.Cleanup(api.Close)
	e.api = api.URL
	e.store = storetest.Open(t)
	e.faults = &faultyStore{Handovers: e.store}
	log := logrus.New()
	log.SetOutput(e.log)
	e.Engine = woodpecker.New(woodpecker.Options{
		Server: api.URL, Token: e.token, Repository: repository, Handovers: e.faults,
		Probes: probes(), Log: log, Now: e.clock.now, Step: step,
	})
	e.gateway = e.Handler()
	gateway := httptest.NewServer(e.gateway)
	t.Cleanup(gateway.Close)
	e.extensions = gateway.URL + "/extensions/woodpecker/"
	e.server.SetExtensions(e.extensions+"config", e.extensions+"secret")
	e.build, _ = storetest.Started(
		t, e.store, storetest.AutomatedBuild(t, e.store, storetest.Repository("app")), "",
		storetest.Commit(1),
	)
	return e
}

// probes returns the Probes of an env.
func probes() pipeline.Probes {
	return pipeline.NewProbes(woodpecker.Name, secret.New("key"), time.Now)
}

func (e *env) pipeline(ref autobuild.Ref) autobuild.Pipeline {
	return autobuild.Pipeline{
		BuildID: e.build.ID, Number: e.build.Number, Attempt: 1, Repository: e.build.Repository,
		Ref: ref, Commit: e.build.Commit.Hash,
	}
}

// start starts the build's pipeline.
func (e *env) start() autobuild.Attempt {
	e.t.Helper()
	ref, err := e.Start(e.t.Context(), e.pipeline(storetest.Main()))
	must.Succeed(e.t, err)
	return autobuild.Attempt{BuildID: e.build.ID, Number: 1, EngineRef: ref}
}

// order offers the attempt and returns the order that the engine would send.
func (e *env) order(ref autobuild.Ref) pipeline.Order {
	e.t.Helper()
	o := pipeline.Order{
		Repository: e.repository,
		Params:     pipeline.Params{BuildID: e.build.ID, Attempt: 1, Nonce: "nonce"},
	}
	if o.Repository == "" {
		o.Repository, o.Ref, o.Commit = "acme/app", ref, e.build.Commit.Hash
	}
	must.Succeed(
		e.t,
		e.store.OfferAttempt(e.t.Context(), e.build.ID, 1, autobuild.TokenHash(secret.New("nonce")), o.Repository),
	)
	return o
}

// of returns a repository's pipelines without the filtered ones.
func (e *env) of(r *woodpeckertest.Repository) []woodpeckertest.Pipeline {
	var all []woodpeckertest.Pipeline
	for _, p := range e.server.Pipelines(r) {
		if p.Status != "deleted" {
			all = append(all, p)
		}
	}
	return all
}

// wantError checks an error's sentinel and text.
func wantError(t *testing.T, err, want error, wantText string) {
	t.Helper()
	if err == nil || (want != nil && !errors.Is(err, want)) {
		t.Errorf("error: got %v, want %v", err, want)
		return
	}
	if !strings.Contains(err.Error(), wantText) {
		t.Errorf("error: got %v, want %q in it", err, wantText)
	}
}

// await waits until another process makes met true.
func await(t *testing.T, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("event: got none within the time limit, want one")
		}
	}
}

// proxy counts the engine's requests, and can replace the server's responses.
type proxy struct {
	to http.Handler

	mu       sync.Mutex
	requests map[string]int // number of requests by path
	instead  http.HandlerFunc
}

func (l *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.requests[r.URL.Path]++
	instead := l.instead
	l.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	l.to.ServeHTTP(w, r)
}

func (l *proxy) respond(instead http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.instead = instead
}

func (l *proxy) times(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests[path]
}

// clock is the real clock plus an offset.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// faultyStore is a store with failing methods.
type faultyStore struct {
	pipeline.Handovers

	mu       sync.Mutex
	lookUp   int // number of further failures
	handOver int
}

var errDisk = &os.PathError{Op: "read", Path: "database", Err: os.ErrClosed}

func (f *faultyStore) fail(left *int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *left == 0 {
		return nil
	}
	*left--
	return errDisk
}

func (f *faultyStore) AttemptByNonce(ctx context.Context, hash string) (autobuild.Attempt, error) {
	if err := f.fail(&f.lookUp); err != nil {
		return autobuild.Attempt{}, err
	}
	return f.Handovers.AttemptByNonce(ctx, hash)
}

func (f *faultyStore) HandOver(ctx context.Context, hash, pipeline, token string) error {
	if err := f.fail(&f.handOver); err != nil {
		return err
	}
	return f.Handovers.HandOver(ctx, hash, pipeline, token)
}
