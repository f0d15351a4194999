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

// env is an engine on a fake Drone. Its gateway consists of a store only.
type env struct {
	*drone.Engine
	server    *dronetest.Server
	store     *store.Store
	api       string // URL of the Drone server
	gateway   string // URL of the extensions
	rechecked chan string
	token     string
	log       *lockedBuffer

	mu        sync.Mutex
	answer    func(w http.ResponseWriter, r *http.Request) bool // runs before the server; true = the request is answered
	requested []string                                          // requests to the server
}

// instead replaces the server's response to one kind of request.
func (e *env) instead(method, pathSuffix string, response http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.HasSuffix(r.URL.Path, pathSuffix) {
			return false
		}
		response(w, r)
		return true
	}
}

// respondStatus returns a handler that responds with a status and a message in Drone's form.
func respondStatus(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"message":%q}`, message)
	}
}

// respond returns a handler that responds with a text.
func respond(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// ServeHTTP serves the engine's requests to the Drone server.
func (e *env) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	response := e.answer
	e.requested = append(e.requested, r.Method+" "+r.URL.RequestURI())
	e.mu.Unlock()
	if response == nil || !response(w, r) {
		e.server.ServeHTTP(w, r)
	}
}

// requests returns the received requests with the given method.
func (e *env) requests(method string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, line := range e.requested {
		if strings.HasPrefix(line, method+" ") {
			all = append(all, line)
		}
	}
	return all
}

// lockedBuffer is a log that tests read while it is written.
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

func newEnv(t testing.TB, o drone.Options) *env {
	t.Helper()
	e := &env{store: storetest.Open(t), rechecked: make(chan string, 100), log: &lockedBuffer{}}
	e.server = dronetest.New(dronetest.Options{Commit: func(_, branch, commit string) string {
		if commit == "" && branch == "main" {
			commit = storetest.Commit(9)
		}
		return commit
	}, Program: func(image string) []string { return []string{image} }})
	t.Cleanup(e.server.Close)
	api := httptest.NewServer(e)
	t.Cleanup(api.Close)
	e.api = api.URL
	log := logrus.New()
	log.SetOutput(e.log)
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
		o.Handovers = e.store
	}
	o.Token, o.Log, o.Platform = e.server.AddUser("slipway"), log, "linux/amd64"
	e.token = o.Token.Reveal()
	o.Secrets = drone.Secrets{Config: all["config"], Secret: all["secret"], Webhook: all["webhook"]}
	o.Recheck = func(buildID string, _ int) {
		select {
		case e.rechecked <- buildID:
		default:
		}
	}
	var err error
	if e.Engine, err = drone.New(o); err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(e.Handler())
	t.Cleanup(gateway.Close)
	e.gateway = gateway.URL
	e.server.SetExtensions(extensions(gateway.URL, all))
	return e
}

func secrets() map[string]secret.Secret {
	return map[string]secret.Secret{
		"config":  secret.New("config secret"),
		"secret":  secret.New("secret secret"),
		"webhook": secret.New("webhook secret"),
	}
}

func (e *env) pipeline(t testing.TB) autobuild.Pipeline { return e.pipelineOf(t, "app") }

// pipelineOf returns a pipeline of a new repository.
func (e *env) pipelineOf(t testing.TB, repository string) autobuild.Pipeline {
	t.Helper()
	r := storetest.Repository(repository)
	built, _ := storetest.Started(t, e.store, storetest.AutomatedBuild(t, e.store, r), "", storetest.Commit(1))
	return autobuild.Pipeline{
		BuildID:    built.ID,
		Number:     built.Number,
		Attempt:    1,
		Repository: built.Repository,
		Ref:        built.Ref,
		Commit:     built.Commit.Hash,
	}
}

// started returns the attempt of a pipeline that was just started.
func (e *env) started(t testing.TB) autobuild.Attempt { return e.startedOf(t, "app") }

func (e *env) startedOf(t testing.TB, repository string) autobuild.Attempt {
	t.Helper()
	p := e.pipelineOf(t, repository)
	ref, err := e.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return autobuild.Attempt{BuildID: p.BuildID, Number: 1, EngineRef: ref}
}

// waitFinished waits for the end of a build and returns its status.
func (e *env) waitFinished(t testing.TB, r *dronetest.Repository, number int64) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	respondStatus, err := e.server.Wait(ctx, r, number)
	if err != nil {
		t.Fatalf("status of build %d: got %s, want a final one", number, respondStatus)
	}
	return respondStatus
}

// shortly returns a context for a Start that searches for its pipeline in vain.
func shortly(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// script writes a program for steps to run and returns its path.
func script(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}
