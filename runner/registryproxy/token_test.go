package registryproxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"slipway/config/secret"
	"slipway/runner/registryproxy"
)

// A tokenServer handles token requests as one kind of registry does. The token of request n is "t"n.
type tokenServer struct {
	*httptest.Server
	form     string // of the response; %d = n
	life     time.Duration
	now      func() time.Time
	mu       sync.Mutex
	requests []string
	ends     map[string]time.Time
}

func newTokenServer(t *testing.T, form string, life time.Duration) *tokenServer {
	s := &tokenServer{form: form, life: life, ends: map[string]time.Time{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = r.ParseForm()
	user, password, _ := r.BasicAuth()
	s.requests = append(s.requests, fmt.Sprintf("%s %s service=%s scope=%s user=%s", r.Method, r.URL.Path,
		r.Form.Get("service"), strings.Join(r.Form["scope"], " "), user))
	if password != canary && r.PostForm.Get("refresh_token") != canary {
		w.WriteHeader(401)
		fmt.Fprint(w, "token server's words about "+password)
		return
	}
	n := len(s.requests)
	s.ends[fmt.Sprintf("Bearer t%d", n)] = s.now().Add(s.life)
	fmt.Fprintf(w, s.form, n)
}

// protect makes the env's registry accept the server's tokens, while they live.
func (s *tokenServer) protect(e *env, challenge string) {
	s.now = e.clock
	e.auth = func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		end, known := s.ends[r.Header.Get("Authorization")]
		s.mu.Unlock()
		if known && e.clock().Before(end) {
			return true
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(401)
		return false
	}
}

func (s *tokenServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *tokenServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// newTokenEnv makes an env whose registry names the token server.
func newTokenEnv(t *testing.T, s *tokenServer, service string) *env {
	t.Helper()
	e := newEnv(t, func(_ *env, o *registryproxy.Options) { o.Policy.Allow = append(o.Policy.Allow, hostOf(s.Server)) })
	s.protect(e, fmt.Sprintf(`Bearer realm="%s/token",service="%s",scope="repository:upstream:pull"`, s.URL, service))
	return e
}

// The responses that the registries' documentation shows. Sources:
// https://distribution.github.io/distribution/spec/auth/token/ (Docker Hub)
// https://cloud.google.com/artifact-registry/docs/reference/docker-api
// https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
var registries = map[string]struct {
	service string
	form    string        // of the response
	life    time.Duration // of the token at the registry
	renewed time.Duration // a token is renewed at this age
}{
	"Docker Hub": {
		service: "registry.docker.io",
		form:    `{"token":"t%[1]d","access_token":"t%[1]d","expires_in":300,"issued_at":"2026-11-29T12:00:00Z"}`,
		life:    300 * time.Second,
		renewed: 240 * time.Second,
	},
	"Artifact Registry": {
		service: "europe-docker.pkg.dev",
		form:    `{"token":"t%[1]d","expires_in":3600,"issued_at":"2026-11-29T12:00:00Z"}`,
		life:    time.Hour,
		renewed: 59 * time.Minute,
	},
	"Azure": { // it sends no lifetime, so the default of a minute applies
		service: "acme.azurecr.io",
		form:    `{"access_token":"t%[1]d"}`,
		life:    75 * time.Minute,
		renewed: 30 * time.Second,
	},
	"a short life": {
		service: "short",
		form:    `{"token":"t%[1]d","expires_in":10}`,
		life:    10 * time.Second,
		renewed: 5 * time.Second,
	},
	"an absurd life": {
		service: "absurd",
		form:    `{"token":"t%[1]d","expires_in":9223372036854775807}`,
		life:    48 * time.Hour,
		renewed: 24*time.Hour - time.Minute,
	},
	"a negative life": {
		service: "negative",
		form:    `{"token":"t%[1]d","expires_in":-5}`,
		life:    time.Minute,
		renewed: 30 * time.Second,
	},
}

func TestTokensAreRenewedBeforeTheRequest(t *testing.T) {
	for name, c := range registries {
		t.Run(name, func(t *testing.T) {
			s := newTokenServer(t, c.form, c.life)
			e := newTokenEnv(t, s, c.service)
			wantStatus(t, "GET", e.do("GET", "/v2/acme/app/manifests/latest", ""), 404)
			e.advance(c.renewed - time.Second)
			wantStatus(t, "GET before the margin", e.do("GET", "/v2/acme/app/manifests/latest", ""), 404)
			want := []string{"GET /token service=" + c.service + " scope=repository:acme/app:pull,push user=robot"}
			if diff := cmp.Diff(want, s.asked()); diff != "" {
				t.Errorf("token requests (-want +got)\n%s", diff)
			}
			e.advance(time.Second)
			wantStatus(t, "GET at the margin", e.do("GET", "/v2/acme/app/manifests/latest", ""), 404)
			if got := s.count(); got != 2 {
				t.Errorf("got %d token requests, want a second one", got)
			}
			if got := e.last().header.Get("Authorization"); got != "Bearer t2" {
				t.Errorf("the registry got %q, want the second token", got)
			}
		})
	}
}

func TestScopesOfPullOnlyRepositoriesAndMounts(t *testing.T) {
	s := newTokenServer(t, `{"token":"t%d","expires_in":300}`, 5*time.Minute)
	e := newTokenEnv(t, s, "x")
	e.do("GET", "/v2/acme/base/manifests/latest", "")
	e.do("POST", "/v2/acme/app/blobs/uploads/?mount="+digest("x")+"&from=acme/base", "")
	want := []string{
		"GET /token service=x scope=repository:acme/base:pull user=robot",
		"GET /token service=x scope=repository:acme/app:pull,push repository:acme/base:pull user=robot",
	}
	if diff := cmp.Diff(want, s.asked()); diff != "" {
		t.Errorf("token requests (-want +got)\n%s", diff)
	}
}

func TestIdentityTokens(t *testing.T) {
	s := newTokenServer(t, `{"access_token":"t%d","expires_in":300}`, 5*time.Minute)
	e := newEnv(t, func(_ *env, o *registryproxy.Options) {
		o.Policy.Allow = append(o.Policy.Allow, hostOf(s.Server))
		o.Login = func(context.Context) (registryproxy.Login, error) {
			return registryproxy.Login{Password: secret.New(canary)}, nil
		}
	})
	s.protect(e, `Bearer realm="`+s.URL+`/oauth2/token",service="acme.azurecr.io"`)
	wantStatus(t, "GET", e.do("GET", "/v2/acme/app/manifests/latest", ""), 404)
	want := []string{"POST /oauth2/token service=acme.azurecr.io scope=repository:acme/app:pull,push user="}
	if diff := cmp.Diff(want, s.asked()); diff != "" {
		t.Errorf("token requests (-want +got)\n%s", diff)
	}
}

// Amazon's registries take Basic with a password that lives for 12 hours.
// Source: https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
func TestCredentialsThatEndAreRenewed(t *testing.T) {
	logins := 0
	e := newEnv(t, func(e *env, o *registryproxy.Options) {
		o.Login = func(context.Context) (registryproxy.Login, error) {
			logins++
			return registryproxy.Login{Username: "AWS", Password: secret.New(fmt.Sprintf("%s-%d", canary, logins)),
				ExpiresAt: e.clock().Add(12 * time.Hour)}, nil
		}
	})
	e.auth = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "AWS" && password == fmt.Sprintf("%s-%d", canary, logins) {
			return true
		}
		w.Header().Set("WWW-Authenticate",
			`Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"`)
		w.WriteHeader(401)
		return false
	}
	e.push("first")
	e.advance(12*time.Hour - 2*time.Minute)
	e.push("second")
	if logins != 1 {
		t.Errorf("got %d logins before the margin, want 1", logins)
	}
	e.advance(time.Minute)
	e.push("third")
	if logins != 2 {
		t.Errorf("got %d logins at the margin, want 2", logins)
	}
}

func TestRegistryWithoutAuthentication(t *testing.T) {
	e := newEnv(t)
	wantStatus(t, "GET", e.do("GET", "/v2/acme/app/manifests/latest", ""), 404)
	if got := e.last().header.Get("Authorization"); got != "" {
		t.Errorf("Authorization to the registry: got %q, want none without a challenge", got)
	}
}

// Some registries serve /v2/ without a credential and require one for later requests.
func TestChallengeOfALaterRequest(t *testing.T) {
	e := newEnv(t)
	e.auth = func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path == "/v2/" || basicAuth(w, r) }
	e.push("blob")
	if got := e.last().header.Get("Authorization"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("the registry got %q, want the credential", got)
	}
}

// Tokens of two repositories may end early at the same time.
func TestTwoTokensThatEndEarly(t *testing.T) {
	s := newTokenServer(t, `{"token":"t%d","expires_in":3600}`, 5*time.Minute)
	e := newTokenEnv(t, s, "x")
	for range 2 {
		for _, name := range []string{"acme/app", "acme/base"} {
			wantStatus(t, name, e.do("GET", "/v2/"+name+"/manifests/latest", ""), 404)
		}
		e.advance(10 * time.Minute)
	}
	if got := s.count(); got != 4 {
		t.Errorf("got %d token requests, want 4", got)
	}
}

func TestAnonymousLogin(t *testing.T) {
	s := newTokenServer(t, `{"token":"t%d"}`, time.Minute)
	e := newEnv(t, func(_ *env, o *registryproxy.Options) {
		o.Policy.Allow = append(o.Policy.Allow, hostOf(s.Server))
		o.Login = func(context.Context) (registryproxy.Login, error) { return registryproxy.Login{}, nil }
	})
	s.protect(e, `Bearer realm="`+s.URL+`/token",service="x"`)
	wantStatus(t, "a token server that wants a login", e.do("GET", "/v2/acme/app/manifests/latest", ""), 403)
	if got := s.asked(); len(got) != 1 || !strings.HasSuffix(got[0], "user=") {
		t.Errorf("token requests: got %q, want one without a user", got)
	}
}

// The registry's response to a refused credential may repeat the credential.
func TestRefusedCredentials(t *testing.T) {
	for name, protect := range map[string]func(*testing.T, *env, *tokenServer){
		"Basic, 401": func(_ *testing.T, e *env, _ *tokenServer) { e.auth = refusing(401, `Basic realm="upstream-realm"`) },
		"Basic, 403": func(_ *testing.T, e *env, _ *tokenServer) { e.auth = refusing(403, `Basic realm="upstream-realm"`) },
		"token refused": func(_ *testing.T, e *env, s *tokenServer) {
			e.auth = refusing(401, `Bearer realm="`+s.URL+`/token",service="x"`)
		},
		"token server": func(_ *testing.T, e *env, s *tokenServer) {
			e.auth = refusing(401, `Bearer realm="`+s.URL+`/token",service="x"`)
			s.form = ""
		},
		"a word: Bearer ": func(_ *testing.T, e *env,
			s *tokenServer) {
			e.auth = refusing(403, `Bearer realm="`+s.URL+`/token"`)
		},
	} {
		s := newTokenServer(t, `{"token":"t%d","expires_in":300}`, 5*time.Minute)
		s.now = time.Now
		logins := 0
		e := newEnv(t, func(_ *env, o *registryproxy.Options) {
			o.Policy.Allow = append(o.Policy.Allow, hostOf(s.Server))
			o.Login = func(context.Context) (registryproxy.Login, error) {
				logins++
				password := canary
				if name == "token server" {
					password = "wrong-" + canary
				}
				return registryproxy.Login{Username: "robot", Password: secret.New(password)}, nil
			}
		})
		protect(t, e, s)
		for range 5 {
			for _, c := range []struct{ method, uri, body string }{
				{"GET", "/v2/acme/app/manifests/latest", ""}, {"PUT", "/v2/acme/app/manifests/latest", "{}"},
				{"POST", "/v2/acme/app/blobs/uploads/", "blob"},
			} {
				got := e.do(c.method, c.uri, c.body)
				wantStatus(t, name+" "+c.method, got, 403)
				if strings.Contains(got.body+got.header.Get("WWW-Authenticate"), "upstream") ||
					strings.Contains(got.body, "words") {
					t.Errorf("%s: got %v %q, want no part of the registry's response", name, got.header, got.body)
				}
			}
		}
		if logins > 2 || s.count() > 2 {
			t.Errorf("%s: got %d logins and %d token requests for 15 requests, want at most two of each", name, logins,
				s.count())
		}
	}
}

func refusing(status int, challenge string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", challenge)
		if r.URL.Path == "/v2/" {
			w.WriteHeader(401)
			return false
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "upstream's words: "+r.Header.Get("Authorization"))
		return false
	}
}
