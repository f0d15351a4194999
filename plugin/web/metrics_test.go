package web

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"slipway/config/discard"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/web/pages/pagestest"
)

// serveMetrics is a handler that writes metrics.
func serveMetrics(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("slipway_builds 1\n"))
}

func TestMetricsNeedTheToken(t *testing.T) {
	token := secret.New("0123456789abcdef")
	sample := pagestest.Empty(t)
	right := http.Header{"Authorization": {"Bearer 0123456789abcdef"}}
	for name, tt := range map[string]struct {
		token     secret.Secret
		elsewhere bool
		header    http.Header
		want      int
	}{
		"nothing is set":                  {secret.Secret{}, false, nil, http.StatusNotFound},
		"nothing is set, a token is sent": {secret.Secret{}, false, right, http.StatusNotFound},
		"nothing is set, an empty token":  {secret.Secret{}, false, authorization("Bearer "), http.StatusNotFound},
		"the token":                       {token, false, right, http.StatusOK},
		"no token":                        {token, false, nil, http.StatusUnauthorized},
		"an empty token":                  {token, false, authorization("Bearer "), http.StatusUnauthorized},
		"another token":                   {token, false, authorization("Bearer 0123456789abcdee"), http.StatusUnauthorized},
		"the token without its kind":      {token, false, authorization("0123456789abcdef"), http.StatusUnauthorized},
		"the token, separate address":     {token, true, right, http.StatusNotFound},
		"no token, separate address":      {secret.Secret{}, true, nil, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEnvOf(
				t,
				sample,
				func(s *router) { s.Metrics = publicMetrics(http.HandlerFunc(serveMetrics), tt.token, tt.elsewhere) },
			)
			r := w.do("GET", "/metrics", tt.header)
			text := read(t, r)
			if r.StatusCode != tt.want {
				t.Errorf("status: got %v, want %v", r.StatusCode, tt.want)
			}
			if strings.Contains(text, "slipway_builds") != (tt.want == http.StatusOK) {
				t.Errorf("body: got %s, want metrics in it: %t", text, tt.want == http.StatusOK)
			}
			if tt.want != http.StatusOK && !strings.HasPrefix(text, `{"error":`) {
				t.Errorf("body: got %s, want a JSON error", text)
			}
		})
	}
}

func TestAnAdministratorsSessionOpensNoMetrics(t *testing.T) {
	w := newEnv(t, func(s *router) {
		s.Metrics = publicMetrics(http.HandlerFunc(serveMetrics), secret.New("0123456789abcdef"), false)
	})
	if got := w.do(
		"GET",
		"/metrics",
		ours,
		w.Cookie(t, autobuild.RoleAdmin),
	).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("status: got %d, want 401: a cookie does not authenticate a program", got)
	}
}

func TestMetricsCanHaveASeparateAddress(t *testing.T) {
	s := pagestest.Empty(t)
	for name, tt := range map[string]struct {
		token  secret.Secret
		header string
		path   string
		want   int
	}{
		"without a token":            {secret.Secret{}, "", "/metrics", http.StatusOK},
		"with one":                   {secret.New("0123456789abcdef"), "Bearer 0123456789abcdef", "/metrics", http.StatusOK},
		"with one that is not shown": {secret.New("0123456789abcdef"), "", "/metrics", http.StatusUnauthorized},
		"anything else":              {secret.Secret{}, "", "/signin", http.StatusNotFound},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Header.Set("Authorization", tt.header)
		rec := httptest.NewRecorder()
		MetricsServer(http.HandlerFunc(serveMetrics), tt.token, s.Log).Handler.ServeHTTP(rec, r)
		if rec.Code != tt.want {
			t.Errorf("%s: got Code %v, want %v", name, rec.Code, tt.want)
		}
		if len(rec.Header().Get("X-Request-Id")) != 16 {
			t.Errorf("%s: got request id %q, want 16 characters", name, rec.Header().Get("X-Request-Id"))
		}
	}
}

// Profiles are served only with a token.
func TestProfilesNeedTheToken(t *testing.T) {
	token := secret.New("0123456789abcdef")
	quick := []string{"heap", "goroutine", "allocs", "threadcreate"}
	all := append(slices.Clone(quick), "profile", "trace")
	for name, tt := range map[string]struct {
		token  secret.Secret
		header http.Header
		paths  []string
		want   int
	}{
		"the token":       {token, authorization("Bearer 0123456789abcdef"), quick, http.StatusOK},
		"another token":   {token, authorization("Bearer 0123456789abcdee"), all, http.StatusUnauthorized},
		"no token":        {token, nil, all, http.StatusUnauthorized},
		"no token is set": {secret.Secret{}, nil, all, http.StatusNotFound},
	} {
		server := MetricsServer(http.HandlerFunc(serveMetrics), tt.token, discard.Logger()).Handler
		for _, path := range tt.paths {
			r := httptest.NewRequest("GET", "/debug/pprof/"+path, nil)
			r.Header = tt.header.Clone()
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s, %s: got status %d, want %d", name, path, w.Code, tt.want)
			}
		}
	}
}

// Observe gets route patterns, and no text from clients.
func TestRequestsAreObservedByRoute(t *testing.T) {
	var routes []string
	w := newEnv(t, func(s *router) {
		s.Observe = func(method, route string, status int, took time.Duration) {
			if took <= 0 {
				t.Errorf("%s: got duration %s, want more than 0", route, took)
			}
			routes = append(routes, method+" "+route+" "+http.StatusText(status))
		}
	})
	w.do("POST", "/hooks/bitbucket/acme-app", nil)
	w.do("POST", "/runner/v1/broken", nil)
	w.do("GET", "/no/such/place", nil)
	w.do("GET", "/builds/12", nil)
	want := []string{
		"POST /hooks/bitbucket/:id Accepted",
		"POST /runner/v1/broken Internal Server Error",
		"GET  Not Found",
		"GET /builds/:number See Other",
	}
	if !slices.Equal(routes, want) {
		t.Errorf("observed requests: got %q, want %q", routes, want)
	}
}

// Every error names the request id that is in the log.
func TestEveryErrorNamesItsRequest(t *testing.T) {
	w := newEnv(t, nil)
	seen := map[string]bool{}
	for _, request := range []struct{ method, path string }{
		{"GET", "/nothing"}, {"DELETE", "/builds"}, {"POST", "/signout"}, {"POST", "/runner/v1/broken"},
		{"GET", "/runner/v1/nothing"}, {"GET", "/hooks/x"}, {"GET", "/metrics"},
	} {
		r := w.do(request.method, request.path, http.Header{"X-Request-Id": {"chosen-outside"}})
		text, id := read(t, r), r.Header.Get("X-Request-Id")
		if r.StatusCode < 400 {
			t.Errorf("status: got %v, want at least 400", r.StatusCode)
		}
		if !strings.Contains(text, id) {
			t.Errorf("body: got %q, want it to contain %q", text, id)
		}
		if len(id) != 16 {
			t.Fatalf("length of id: got %d, want 16 (%v)", len(id), id)
		}
		if seen[id] {
			t.Error("request ID: got a repeated one, want a new one")
		}
		seen[id] = true
	}
}

// authorization returns a request header with Authorization.
func authorization(value string) http.Header { return http.Header{"Authorization": {value}} }
