package web_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"slipway/config"
	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
	"slipway/plugin/catalog"
	"slipway/plugin/dispatcher"
	"slipway/plugin/engine/inrepo"
	"slipway/plugin/gitproxy"
	"slipway/plugin/intake"
	"slipway/plugin/logs"
	"slipway/plugin/planner"
	"slipway/plugin/store"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
	"slipway/plugin/web"
)

// noPolls is an inrepo.Poller that schedules nothing.
type noPolls struct{}

func (noPolls) PollSoon(context.Context, autobuild.Repository) error { return nil }

// env is the gateway's HTTP handler with real services, as plugin.New wires it.
type env struct {
	http.Handler
	store *store.Store
	log   *bytes.Buffer // all levels
}

const url = "https://slipway.example.com"

func newEnv(t *testing.T, change ...func(*web.Options)) *env {
	t.Helper()
	e := &env{store: storetest.Open(t), log: &bytes.Buffer{}}
	log := logrus.New()
	log.SetOutput(e.log)
	log.SetLevel(logrus.TraceLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	linked := accounts.New(accounts.Options{Store: e.store, URL: url, Log: log})
	kept := logs.New(logs.Options{Dir: t.TempDir()})
	joins := inrepo.New(
		inrepo.Options{
			Tokens: e.store,
			Builds: e.store,
			Refs:   e.store,
			Log:    log,
			Poller: noPolls{},
		},
	)
	git := gitproxy.New(
		gitproxy.Options{Store: e.store, Connector: linked, BaseURL: func(string) string { return url }, Log: log},
	)
	t.Cleanup(git.Close)
	o := web.Options{
		Config: config.Gateway{
			URL:          url,
			Engine:       "embedded",
			PollInterval: 5 * time.Minute,
		},
		Store:    e.store,
		Accounts: linked,
		Logs:     kept,
		Catalog: catalog.New(
			catalog.Options{Store: e.store, Connector: linked, URL: url, DefaultEngine: "embedded", Log: log},
		),
		Intake:     intake.New(intake.Options{Store: e.store, Log: log}),
		Planner:    planner.New(planner.Options{Store: e.store, Connector: linked, Log: log}),
		Dispatcher: dispatcher.New(dispatcher.Options{Store: e.store, Connector: linked, Log: log}),
		Watcher:    watcher.New(watcher.Options{Store: e.store, AppendLog: kept.Line, Log: log}),
		Pipelines:  joins,
		Git:        git,
		Extensions: map[string]http.Handler{"drone": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		})},
		Log: log,
	}
	for _, c := range change {
		c(&o)
	}
	handler, err := web.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e.Handler = handler
	return e
}

func (e *env) do(method, path, body string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, r)
	return rec.Result()
}

// Browsers get pages and programs get JSON. Requests without a sign-in or token are rejected.
func TestNewServesPagesAndTheAPI(t *testing.T) {
	handler := newEnv(t)
	for _, tt := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/healthz", http.StatusOK, "text/plain"},
		{"GET", "/readyz", http.StatusOK, "text/plain"},
		{"GET", "/signin", http.StatusOK, "text/html"},
		{"GET", "/builds", http.StatusSeeOther, ""},
		{"GET", "/oauth/bitbucket/callback?state=x&code=y", http.StatusBadRequest, "text/html"},
		{"POST", "/hooks/bitbucket/unknown", http.StatusUnauthorized, "application/json"},
		{"POST", "/extensions/drone/config", http.StatusNoContent, ""},
		{"POST", "/extensions/woodpecker/config", http.StatusNotFound, "application/json"},
		{"POST", "/runner/v1/builds/none/claim", http.StatusUnauthorized, "application/json"},
	} {
		e := httptest.NewRecorder()
		handler.ServeHTTP(e, httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}")))
		if e.Code != tt.status {
			t.Errorf("status: got %v, want %v", e.Code, tt.status)
		}
		if !strings.HasPrefix(e.Header().Get("Content-Type"), tt.kind) {
			t.Errorf("Content-Type: got %q, want the prefix %q", e.Header().Get("Content-Type"), tt.kind)
		}
	}
}
