package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"

	"slipway/config"
	"slipway/plugin/accounts"
	"slipway/plugin/catalog"
	"slipway/plugin/dispatcher"
	"slipway/plugin/intake"
	"slipway/plugin/logs"
	"slipway/plugin/planner"
	"slipway/plugin/store/storetest"
	"slipway/plugin/watcher"
	"slipway/plugin/web"
)

// The rooms themselves, wired: people get pages, programs get JSON, strangers get nowhere.
func TestNewServesPeopleAndPrograms(t *testing.T) {
	st := storetest.Open(t)
	log, _ := logtest.NewNullLogger()
	const url = "https://slipway.example.com"
	linked := accounts.New(accounts.Options{Store: st, URL: url, Log: log})
	kept := logs.New(logs.Options{Dir: t.TempDir()})
	handler, err := web.New(web.Options{
		Config: config.Gateway{URL: url, Engine: "embedded", PollInterval: 5 * time.Minute}, Store: st, Accounts: linked, Logs: kept,
		Catalog:    catalog.New(catalog.Options{Store: st, Connector: linked, URL: url, DefaultEngine: "embedded", Log: log}),
		Intake:     intake.New(intake.Options{Store: st, Log: log}),
		Planner:    planner.New(planner.Options{Store: st, Connector: linked, Log: log}),
		Dispatcher: dispatcher.New(dispatcher.Options{Store: st, Connector: linked, Log: log}),
		Watcher:    watcher.New(watcher.Options{Store: st, Append: kept.Line, Log: log}),
		Extensions: map[string]http.Handler{"drone": http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		})},
		Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
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
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}")))
		if w.Code != tt.status || !strings.HasPrefix(w.Header().Get("Content-Type"), tt.kind) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, w.Code, w.Header().Get("Content-Type"), tt.status, tt.kind)
		}
	}
}
