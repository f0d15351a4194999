package drone_test

import (
	"context"
	"fmt"
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
	"slipway/plugin/engine/drone"
	"slipway/plugin/engine/drone/dronetest"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
)

// bench is an engine on a fake Drone, whose gateway is a store and nothing else.
type bench struct {
	*drone.Engine
	server  *dronetest.Server
	store   *store.Store
	api     string // URL of the server
	gateway string // URL of what its extensions are
	nudged  chan string
	token   string
	log     *lockedBuffer

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) bool // before the server; true = that was it
	asked  []string                                          // requests to it
}

// instead answers a kind of request to the server, once or always, in its place.
func (b *bench) instead(method, pathSuffix string, answer http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.HasSuffix(r.URL.Path, pathSuffix) {
			return false
		}
		answer(w, r)
		return true
	}
}

// status answers with a status, and a message as Drone's.
func status(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"message":%q}`, message)
	}
}

// says answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// ServeHTTP is what the engine takes for its server.
func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	answer := b.answer
	b.asked = append(b.asked, r.Method+" "+r.URL.RequestURI())
	b.mu.Unlock()
	if answer == nil || !answer(w, r) {
		b.server.ServeHTTP(w, r)
	}
}

// requests are those so far with a method.
func (b *bench) requests(method string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, line := range b.asked {
		if strings.HasPrefix(line, method+" ") {
			all = append(all, line)
		}
	}
	return all
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t testing.TB, o drone.Options) *bench {
	t.Helper()
	b := &bench{store: storetest.Open(t), nudged: make(chan string, 100), log: &lockedBuffer{}}
	b.server = dronetest.New(dronetest.Options{Commit: func(_, branch, commit string) string {
		if commit == "" && branch == "main" {
			commit = storetest.Commit(9)
		}
		return commit
	}, Program: func(image string) []string { return []string{image} }})
	t.Cleanup(b.server.Close)
	api := httptest.NewServer(b)
	t.Cleanup(api.Close)
	b.api = api.URL
	log := logrus.New()
	log.SetOutput(b.log)
	all := secrets()
	if o.Type == "" {
		o.Type = drone.TypeExec
	}
	if o.Step.Image == "" {
		o.Step.Image = "true"
	}
	if o.Step.URL == nil {
		o.Step.URL = func(id string) string { return "http://gateway/" + id }
	}
	if o.Server == "" {
		o.Server = api.URL
	}
	if o.Handovers == nil {
		o.Handovers = b.store
	}
	o.Token, o.Log, o.Platform = b.server.AddUser("slipway"), log, "linux/amd64"
	b.token = o.Token.Reveal()
	o.Secrets = drone.Secrets{Config: all["config"], Secret: all["secret"], Webhook: all["webhook"]}
	o.Nudge = func(buildID string, _ int) {
		select {
		case b.nudged <- buildID:
		default:
		}
	}
	var err error
	if b.Engine, err = drone.New(o); err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(b.Handler())
	t.Cleanup(gateway.Close)
	b.gateway = gateway.URL
	b.server.SetExtensions(extensions(gateway.URL, all))
	return b
}

func secrets() map[string]secret.Secret {
	return map[string]secret.Secret{"config": secret.New("config secret"), "secret": secret.New("secret secret"), "webhook": secret.New("webhook secret")}
}

func (b *bench) pipeline(t testing.TB) autobuild.Pipeline { return b.pipelineOf(t, "app") }

// pipelineOf is one of a repository of its own.
func (b *bench) pipelineOf(t testing.TB, repository string) autobuild.Pipeline {
	t.Helper()
	r := storetest.Repository(repository)
	built, _ := storetest.Started(t, b.store, storetest.AutomatedBuild(t, b.store, r), "", storetest.Commit(1))
	return autobuild.Pipeline{BuildID: built.ID, Number: built.Number, Attempt: 1, Repository: built.Repository, Ref: built.Ref, Commit: built.Commit.Hash}
}

// started is the attempt of a pipeline that was just started.
func (b *bench) started(t testing.TB) autobuild.Attempt { return b.startedOf(t, "app") }

func (b *bench) startedOf(t testing.TB, repository string) autobuild.Attempt {
	t.Helper()
	p := b.pipelineOf(t, repository)
	ref, err := b.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return autobuild.Attempt{BuildID: p.BuildID, Number: 1, EngineRef: ref}
}

// over waits for the end of a build, and returns its status.
func (b *bench) over(t testing.TB, r *dronetest.Repository, number int64) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	status, err := b.server.Wait(ctx, r, number)
	if err != nil {
		t.Fatalf("build %d is %s still", number, status)
	}
	return status
}

// shortly bounds a start whose pipeline is then looked for in vain.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// script is a program for steps to run.
func script(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}
