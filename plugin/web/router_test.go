package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"slipway/plugin/autobuild"
	"slipway/plugin/web/httpx"
	"slipway/plugin/web/pages"
	"slipway/plugin/web/pages/pagestest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	m.Run()
}

type env struct {
	*pagestest.Sample
	engine *gin.Engine
}

func newEnv(t *testing.T, change func(*router)) *env {
	t.Helper()
	return newEnvOf(t, pagestest.Open(t), change)
}

// newEnvOf returns an env with an existing sample.
func newEnvOf(t *testing.T, s *pagestest.Sample, change func(*router)) *env {
	t.Helper()
	parts := router{
		URL: pagestest.URL, UI: s.Pages, Sessions: s.Sessions, Log: s.Log, Now: s.Clock.Now,
		Ready: func(context.Context) error { return nil },
		MountAPI: func(r gin.IRouter) {
			r.POST("/hooks/bitbucket/:id", func(c *gin.Context) { c.Status(http.StatusAccepted) })
			r.POST("/runner/v1/broken", httpx.Handle(func(*gin.Context) error { panic("a fault of ours") }))
		},
	}
	if change != nil {
		change(&parts)
	}
	e, err := parts.engine()
	if err != nil {
		t.Fatal(err)
	}
	return &env{s, e}
}

// at returns a route's path with ids of the sample.
func (w *env) at(r pages.Route) string {
	id := w.App.ID
	switch {
	case strings.HasPrefix(r.Path, "/deliveries"):
		id = w.Delivery
	case strings.HasPrefix(r.Path, "/setup"), strings.HasPrefix(r.Path, "/settings/providers"):
		id = pagestest.ProviderID
	case strings.HasPrefix(r.Path, "/settings/accounts"):
		id = w.Account.ID
	case strings.HasPrefix(r.Path, "/settings/registries"):
		id = w.Registry.ID
	case strings.HasPrefix(r.Path, "/settings/engines"):
		id = "drone"
	case strings.HasPrefix(r.Path, "/settings/people"):
		id = w.Users[pagestest.Idle].ID
	}
	return strings.NewReplacer(":id", id, ":number", strconv.FormatInt(w.Done.Number, 10), ":file", "style.css").
		Replace(r.Path)
}

func (w *env) do(method, path string, header http.Header, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(url.Values{"name": {"x"}}.Encode()))
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		if c != nil {
			r.AddCookie(c)
		}
	}
	rec := httptest.NewRecorder()
	w.engine.ServeHTTP(rec, r)
	return rec.Result()
}

var ours = http.Header{"Sec-Fetch-Site": {"same-origin"}}

func checkHeaders(t *testing.T, r *http.Response) {
	t.Helper()
	csp := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") {
		t.Errorf(`Content-Security-Policy: got %q, want it to contain "default-src 'none'"`, csp)
	}
	if !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf(`Content-Security-Policy: got %q, want it to contain "frame-ancestors 'none'"`, csp)
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf(`Content-Security-Policy: got %q, want it not to contain "unsafe"`, csp)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%d: %s %q, want %q", r.StatusCode, name, got, want)
		}
	}
	if len(r.Header.Get("X-Request-Id")) != 16 {
		t.Errorf("status %d: got request ID %q, want one of 16 characters", r.StatusCode, r.Header.Get("X-Request-Id"))
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") && r.StatusCode == http.StatusOK &&
		r.Header.Get("Cache-Control") != "no-store" {
		t.Error("Cache-Control of a page: got another value, want no-store")
	}
}

// S10: requests that change something must come from our own pages.
func TestS10CrossOriginPostsAreRefused(t *testing.T) {
	w := newEnv(t, nil)
	admin := w.Cookie(t, autobuild.RoleAdmin)
	foreign := map[string]http.Header{
		"another site":       {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		"another subdomain":  {"Sec-Fetch-Site": {"same-site"}},
		"an old browser":     {"Origin": {"https://evil.example"}},
		"a sandboxed frame":  {"Origin": {"null"}},
		"no origin whatever": {},
	}
	for _, r := range w.Pages.Routes() {
		if r.Method != http.MethodPost {
			continue
		}
		for name, header := range foreign {
			if got := w.do(r.Method, w.at(r), header, admin).StatusCode; got != http.StatusForbidden {
				t.Errorf("%s from %s: got status %d, want 403", r.Path, name, got)
			}
		}
	}
	if got := w.do("POST", "/hooks/bitbucket/x", foreign["another site"]).StatusCode; got != http.StatusAccepted {
		t.Errorf("a webhook: got %d, want 202", got)
	}
	behindProxy := http.Header{"Origin": {pagestest.URL}}
	if got := w.do("POST", "/signout", behindProxy, admin).StatusCode; got != http.StatusSeeOther {
		t.Errorf("our own origin: got %d, want 303", got)
	}
}

// The engine serves only the routes of the tables.
func TestEveryRouteIsTested(t *testing.T) {
	w := newEnv(t, nil)
	known := []string{
		"GET /healthz",
		"GET /readyz",
		"GET /metrics",
		"POST /hooks/bitbucket/:id",
		"POST /runner/v1/broken",
	}
	for _, r := range w.Pages.Routes() {
		known = append(known, r.Method+" "+r.Path)
	}
	for _, r := range w.engine.Routes() {
		if !slices.Contains(known, r.Method+" "+r.Path) {
			t.Errorf("%s %s: got a route without an entry in the list, want one", r.Method, r.Path)
		}
	}
}

func TestErrorsArePagesOrJSON(t *testing.T) {
	w := newEnv(t, nil)
	missing := w.do("GET", "/nothing/here", nil)
	page := read(t, missing)
	checkHeaders(t, missing)
	if missing.StatusCode != http.StatusNotFound {
		t.Errorf("status: got %v, want %v", missing.StatusCode, http.StatusNotFound)
	}
	if !strings.Contains(page, missing.Header.Get("X-Request-Id")) {
		t.Errorf("page: got %q, want it to contain %q", page, missing.Header.Get("X-Request-Id"))
	}
	if !strings.Contains(page, "no page at this address") {
		t.Errorf(`page: got %q, want it to contain "no page at this address"`, page)
	}
	if got := w.do("DELETE", "/builds", ours).StatusCode; got != http.StatusMethodNotAllowed {
		t.Errorf("DELETE /builds: got %v, want %v", got, http.StatusMethodNotAllowed)
	}
	broken := w.do("POST", "/runner/v1/broken", nil)
	if text := read(
		t,
		broken,
	); broken.StatusCode != 500 {
		t.Errorf("status: got %v, want 500", broken.StatusCode)
	} else if !strings.HasPrefix(text, `{"error":`) {
		t.Errorf("body: got %q, want the prefix %q", text, `{"error":`)
	} else if !strings.Contains(text, `"request":"`+broken.Header.Get("X-Request-Id")) {
		t.Errorf("body: got %q, want it to contain %q", text, `"request":"`+broken.Header.Get("X-Request-Id"))
	} else if strings.Contains(text, "fault of ours") {
		t.Errorf(`body: got %q, want it not to contain "fault of ours"`, text)
	}
	entry := w.Logged.LastEntry()
	if entry == nil {
		t.Fatal("log entry: got none, want one")
	}
	if entry.Data["request"] != broken.Header.Get("X-Request-Id") {
		t.Errorf("request ID in the log: got %v, want %v", entry.Data["request"], broken.Header.Get("X-Request-Id"))
	}
	if !strings.Contains(entry.Data["error"].(error).Error(), "fault of ours") {
		t.Errorf(`error in the log: got %q, want it to contain "fault of ours"`, entry.Data["error"].(error).Error())
	}
}

func read(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestHealth(t *testing.T) {
	w := newEnv(t, func(s *router) { s.Ready = func(context.Context) error { return errors.New("disk full") } })
	if got := w.do("GET", "/healthz", nil).StatusCode; got != http.StatusOK {
		t.Errorf("/healthz: got %d, want 200", got)
	}
	r := w.do("GET", "/readyz", nil)
	if text := read(t, r); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status: got %v, want %v", r.StatusCode, http.StatusServiceUnavailable)
	} else if strings.Contains(text, "disk full") {
		t.Errorf(`body: got %q, want it not to contain "disk full"`, text)
	}
	if got := newEnv(t, nil).do("GET", "/readyz", nil).StatusCode; got != http.StatusOK {
		t.Errorf("/readyz: got %d, want 200", got)
	}
}

// While pushes can still be stored, the gateway stays ready with too little space.
func TestReadinessNamesAFullDisk(t *testing.T) {
	const cause = "the disk of SLIPWAY_DATA=/data has 3 MB free"
	for name, c := range map[string]struct {
		ping   error
		status int
	}{
		"the reserve is in use": {nil, http.StatusOK},
		"the disk is full":      {errors.New("disk full"), http.StatusServiceUnavailable},
	} {
		w := newEnv(t, func(s *router) {
			s.Ready = func(context.Context) error { return c.ping }
			s.Space = func() error { return errors.New(cause) }
		})
		r := w.do("GET", "/readyz", nil)
		text := read(t, r)
		if r.StatusCode != c.status {
			t.Errorf("%s: status: got %d, want %d", name, r.StatusCode, c.status)
		}
		if !strings.Contains(text, cause) {
			t.Errorf("%s: body: got %q, want %q in it", name, text, cause)
		}
	}
}

func TestFormsAreBounded(t *testing.T) {
	w := newEnv(t, nil)
	r := httptest.NewRequest("POST", "/automated-builds/new", strings.NewReader("image="+strings.Repeat("x", maxForm)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(w.Cookie(t, autobuild.RoleAdmin))
	rec := httptest.NewRecorder()
	w.engine.ServeHTTP(rec, r)
	if rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status: got %d, want 413", rec.Code)
	}
}

func TestInvalidProxiesAreReported(t *testing.T) {
	s := pagestest.Empty(t)
	r := router{URL: pagestest.URL, TrustedProxies: []string{"nonsense"}, UI: s.Pages, Sessions: s.Sessions}
	if _, err := r.engine(); err == nil {
		t.Error("engine with an invalid proxy: got no error, want one")
	}
}
