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

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/engine/pipeline"
	"slipway/plugin/engine/woodpecker"
	"slipway/plugin/engine/woodpecker/woodpeckertest"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// A bench is an engine on a fake server, with a build that was just started. The server's
// agent begins nothing until it is released; then steps run a script.
type bench struct {
	*woodpecker.Engine
	t          *testing.T
	repository string
	server     *woodpeckertest.Server
	builder    *woodpeckertest.Repository // acme/builder, active
	app        *woodpeckertest.Repository // acme/app, which is the build's, not active
	token      secret.Secret
	line       *line  // to the server
	api        string // URL of it
	clock      *clock
	handing    *faulty
	store      *store.Store
	build      autobuild.Build
	gateway    http.Handler
	extensions string // where the gateway answers the server
	log        *bytes.Buffer
}

// newBench runs pipelines in the builder repository, or in each repository when it is empty.
// The script is what the step's image is.
func newBench(t *testing.T, repository, script string) *bench {
	t.Helper()
	return newBenchWith(t, repository, script, pipeline.Step{
		URL: func(id string) string { return "https://slipway.example.com/runner/v1/builds/" + id }, Image: "slipway",
	})
}

func newBenchWith(t *testing.T, repository, script string, step pipeline.Step) *bench {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700))
	b := &bench{t: t, repository: repository, clock: &clock{}, log: &bytes.Buffer{}}
	b.server = woodpeckertest.New(woodpeckertest.Options{
		Program:   func(string) string { return program },
		HasBranch: func(_, branch string) bool { return branch == "main" || branch == "topic" },
	})
	b.server.Hold()
	t.Cleanup(b.server.Close)
	b.builder, b.app = b.server.AddRepository("acme/builder", "main"), b.server.AddRepository("acme/app", "main")
	b.server.Activate(b.builder)
	b.token = b.server.AddUser("slipway")
	b.line = &line{to: b.server, asked: map[string]int{}}
	api := httptest.NewServer(b.line)
	t.Cleanup(api.Close)
	b.api = api.URL
	b.store = storetest.Open(t)
	b.handing = &faulty{Handovers: b.store}
	log := logrus.New()
	log.SetOutput(b.log)
	b.Engine = woodpecker.New(woodpecker.Options{
		Server: api.URL, Token: b.token, Repository: repository, Handovers: b.handing, Probes: probes(), Log: log, Now: b.clock.now, Step: step,
	})
	b.gateway = b.Handler()
	gateway := httptest.NewServer(b.gateway)
	t.Cleanup(gateway.Close)
	b.extensions = gateway.URL + "/extensions/woodpecker/"
	b.server.SetExtensions(b.extensions+"config", b.extensions+"secret")
	b.build, _ = storetest.Started(t, b.store, storetest.AutomatedBuild(t, b.store, storetest.Repository("app")), "", storetest.Commit(1))
	return b
}

// probes are a bench's.
func probes() pipeline.Probes {
	return pipeline.NewProbes(woodpecker.Name, secret.New("key"), time.Now)
}

func (b *bench) pipeline(ref autobuild.Ref) autobuild.Pipeline {
	return autobuild.Pipeline{
		BuildID: b.build.ID, Number: b.build.Number, Attempt: 1, Repository: b.build.Repository, Ref: ref, Commit: b.build.Commit.Hash,
	}
}

// start starts the build's pipeline, which must work.
func (b *bench) start() autobuild.Attempt {
	b.t.Helper()
	ref, err := b.Start(b.t.Context(), b.pipeline(storetest.Main()))
	must(b.t, err)
	return autobuild.Attempt{BuildID: b.build.ID, Number: 1, EngineRef: ref}
}

// order offers the attempt, and returns what the engine would order then.
func (b *bench) order(ref autobuild.Ref) pipeline.Order {
	b.t.Helper()
	o := pipeline.Order{Repository: b.repository, Params: pipeline.Params{BuildID: b.build.ID, Attempt: 1, Nonce: "nonce"}}
	if o.Repository == "" {
		o.Repository, o.Ref, o.Commit = "acme/app", ref, b.build.Commit.Hash
	}
	must(b.t, b.store.OfferAttempt(b.t.Context(), b.build.ID, 1, autobuild.TokenHash(secret.New("nonce")), o.Repository))
	return o
}

// of lists a repository's pipelines, without those that were filtered out.
func (b *bench) of(r *woodpeckertest.Repository) []woodpeckertest.Pipeline {
	var all []woodpeckertest.Pipeline
	for _, p := range b.server.Pipelines(r) {
		if p.Status != "deleted" {
			all = append(all, p)
		}
	}
	return all
}

// wants holds an error to what it is and what it says.
func wants(t *testing.T, err, want error, says string) {
	t.Helper()
	if err == nil || (want != nil && !errors.Is(err, want)) || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want %v that says %q", err, want, says)
	}
}

// await waits for what another process brings about.
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
			t.Fatal("waited in vain")
		}
	}
}

// A line counts what the engine asks, and may answer in the server's place.
type line struct {
	to http.Handler

	mu      sync.Mutex
	asked   map[string]int // by path
	instead http.HandlerFunc
}

func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.asked[r.URL.Path]++
	instead := l.instead
	l.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	l.to.ServeHTTP(w, r)
}

func (l *line) answer(instead http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.instead = instead
}

func (l *line) times(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path]
}

// A clock is the real one, put forward.
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

// faulty is a store that may not answer.
type faulty struct {
	pipeline.Handovers

	mu       sync.Mutex
	lookUp   int // how many more times it fails
	handOver int
}

var errDisk = &os.PathError{Op: "read", Path: "database", Err: os.ErrClosed}

func (f *faulty) fail(left *int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *left == 0 {
		return nil
	}
	*left--
	return errDisk
}

func (f *faulty) AttemptByNonce(ctx context.Context, hash string) (autobuild.Attempt, error) {
	if err := f.fail(&f.lookUp); err != nil {
		return autobuild.Attempt{}, err
	}
	return f.Handovers.AttemptByNonce(ctx, hash)
}

func (f *faulty) HandOver(ctx context.Context, hash, pipeline, token string) error {
	if err := f.fail(&f.handOver); err != nil {
		return err
	}
	return f.Handovers.HandOver(ctx, hash, pipeline, token)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
