package web_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/store/storetest"
)

// routes returns all routes of the gateway with values for their parameters.
func (e *env) routes() []gin.RouteInfo {
	all := e.Handler.(*gin.Engine).Routes()
	for i := range all {
		parts := strings.Split(all[i].Path, "/")
		for j, p := range parts {
			if strings.HasPrefix(p, ":") || strings.HasPrefix(p, "*") {
				parts[j] = "x"
			}
		}
		all[i].Path = strings.Join(parts, "/")
	}
	return all
}

// machine reports whether programs call a route.
func machine(path string) bool {
	for _, prefix := range []string{"/hooks/", "/runner/", "/extensions/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// hook is a webhook whose secret is "hook-secret".
func (e *env) hook(t *testing.T) autobuild.Hook {
	t.Helper()
	return e.hookOf(t, autobuild.Cloud)
}

// hookOf is a webhook of a repository at a source provider of this kind, which names the repository, too.
func (e *env) hookOf(t *testing.T, kind autobuild.ProviderKind) autobuild.Hook {
	t.Helper()
	r := storetest.Repository(string(kind))
	provider, err := e.store.SaveProvider(
		t.Context(),
		autobuild.Provider{Kind: kind, Name: string(kind)},
	)
	must.Succeed(t, err)
	r.ProviderID = provider.ID
	h, err := e.store.SaveHook(
		t.Context(),
		autobuild.Hook{AccountID: "a", Repository: r, Secret: secret.New("hook-secret"), State: autobuild.HookActive},
	)
	must.Succeed(t, err)
	return h
}

// session returns the Cookie header of a signed-in user.
func (e *env) session(t *testing.T, role autobuild.Role) (value string, header http.Header) {
	t.Helper()
	user, err := e.store.SaveUser(t.Context(), autobuild.User{Name: string(role), Role: role})
	must.Succeed(t, err)
	token := autobuild.NewToken()
	must.Succeed(
		t,
		e.store.CreateSession(
			t.Context(),
			autobuild.Session{ID: autobuild.TokenHash(token), UserID: user.ID, ExpiresAt: time.Now().Add(time.Hour)},
		),
	)
	return token.Reveal(), cookie(token.Reveal())
}

func cookie(value string) http.Header {
	return http.Header{"Cookie": {"__Host-slipway=" + value}, "Sec-Fetch-Site": {"same-origin"}}
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	must.Succeed(t, err)
	return string(b)
}

// I10: responses do not reveal which webhooks exist, and webhooks accept only POST.
func TestI10UnknownWebhookAndWrongSignatureAreAnsweredAlike(t *testing.T) {
	e := newEnv(t)
	known := e.hook(t).ID
	response := func(hook, signature string) (int, string, http.Header) {
		r := e.do(
			"POST",
			"/hooks/bitbucket/"+hook,
			`{"push":{}}`,
			http.Header{"X-Event-Key": {"repo:push"}, webhook.SignatureHeader: {signature}},
		)
		id := r.Header.Get("X-Request-Id")
		r.Header.Del("X-Request-Id")
		return r.StatusCode, strings.ReplaceAll(text(t, r), id, "its id"), r.Header
	}
	wrong := webhook.Sign([]byte(`{"push":{}}`), secret.New("guess"))
	status, body, header := response(known, wrong)
	if status != http.StatusUnauthorized {
		t.Fatalf("status: got %d, want 401", status)
	}
	for what, c := range map[string][2]string{
		"unknown": {"unknown", wrong}, "no id": {"%20", wrong}, "no signature": {known, ""},
		"neither": {"unknown", "sha1=0"},
	} {
		s, b, h := response(c[0], c[1])
		if diff := cmp.Diff(header, h); s != status {
			t.Errorf("%s: got s %v, want %v", what, s, status)
		} else if b != body {
			t.Errorf("%s: got b %v, want %v", what, b, body)
		} else if diff != "" {
			t.Errorf(`%s: got diff %q, want ""`, what, diff)
		}
	}
	if s, _, _ := response(
		known,
		webhook.Sign([]byte(`{"push":{}}`), secret.New("hook-secret")),
	); s != http.StatusAccepted {
		t.Errorf("the hook's own: got s %v, want %v", s, http.StatusAccepted)
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		if r := e.do(method, "/hooks/bitbucket/"+known, "", nil); r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: got status %d, want 405", method, r.StatusCode)
		}
	}
}

// I12: the log contains nothing from the addresses and headers of requests.
func TestI12NothingSecretOfARequestIsLogged(t *testing.T) {
	e := newEnv(t)
	const canary = "c4nary-of-the-caller"
	for _, r := range e.routes() {
		for _, body := range []string{"{}", "token=" + canary, `{"runner_id":"` + canary + `"}`} {
			e.do(r.Method, r.Path+"?access_token="+canary+"&state="+canary+"&code="+canary, body, http.Header{
				"Authorization": {
					"Bearer " + canary,
				},
				"Cookie":          {"__Host-slipway=" + canary + "; __Host-slipway-flow=" + canary},
				"X-Hub-Signature": {"sha256=" + canary},
				"X-Request-Id":    {canary},
				"Referer":         {"https://x/?" + canary},
				"Sec-Fetch-Site":  {"same-origin"},
				"Content-Type":    {"application/x-www-form-urlencoded"},
			})
		}
	}
	if e.log.Len() == 0 {
		t.Fatal("log: got no line, want some")
	}
	for line := range strings.Lines(e.log.String()) {
		if strings.Contains(line, canary) {
			t.Errorf("logged: got %q, want it not to contain %q", line, canary)
		}
	}
}

// I9: request headers do not change the gateway's own address.
func TestI9ForwardedHeadersChangeNoAddress(t *testing.T) {
	e := newEnv(t)
	e.hook(t)
	p, err := e.store.Providers(t.Context())
	must.Succeed(t, err)
	p[0].ClientID = "key"
	p[0].ClientSecret = secret.New("s")
	p[0].WebURL = "https://bitbucket.org"
	p[0].APIURL = "https://api.bitbucket.org"
	_, err = e.store.SaveProvider(t.Context(), p[0])
	must.Succeed(t, err)
	forged := http.Header{
		"X-Forwarded-Host": {
			"evil.example",
		},
		"X-Forwarded-Proto":  {"http"},
		"X-Forwarded-Prefix": {"/evil.example"},
		"X-Real-Ip":          {"evil.example"},
		"Forwarded": {
			"host=evil.example;proto=http",
		},
		"X-Original-Url": {"https://evil.example"},
		"Origin":         {"https://evil.example"},
	}
	link := e.do("GET", "/oauth/bitbucket/link?provider="+p[0].ID, "", forged)
	if to := link.Header.Get(
		"Location",
	); link.StatusCode != http.StatusSeeOther {
		t.Errorf("status: got %v, want %v", link.StatusCode, http.StatusSeeOther)
	} else if !strings.HasPrefix(to, "https://bitbucket.org/") {
		t.Errorf(`Location: got %q, want the prefix "https://bitbucket.org/"`, to)
	} else if strings.Contains(to, "evil") {
		t.Errorf(`Location: got %q, want it not to contain "evil"`, to)
	}
	for _, c := range link.Cookies() {
		if !c.Secure {
			t.Error("Secure attribute: got false, want true")
		}
		if !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf(`name: got %q, want the prefix "__Host-"`, c.Name)
		}
	}
	for _, r := range e.routes() {
		reply := e.do(r.Method, r.Path, "", forged)
		if body := text(
			t,
			reply,
		); strings.Contains(body, "evil.example") {
			t.Errorf(`body: got %q, want it not to contain "evil.example"`, body)
		} else if strings.Contains(reply.Header.Get("Location"), "evil.example") {
			t.Errorf(`Location: got %q, want it not to contain "evil.example"`, reply.Header.Get("Location"))
		}
	}
}

// S9: every response has a policy that allows only our own script.
func TestS9EveryRouteHasThePolicy(t *testing.T) {
	e := newEnv(t)
	_, admin := e.session(t, autobuild.RoleAdmin)
	asked := 0
	unknown := []gin.RouteInfo{{Method: "GET", Path: "/none"}, {Method: "TRACE", Path: "/builds"}}
	for _, r := range append(e.routes(), unknown...) {
		for _, header := range []http.Header{nil, admin} {
			asked++
			reply := e.do(r.Method, r.Path, "", header)
			csp := reply.Header.Get("Content-Security-Policy")
			for _, want := range []string{
				"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'",
				"form-action 'self'",
			} {
				if !strings.Contains(csp, want) {
					t.Errorf("Content-Security-Policy: got %q, want it to contain %q", csp, want)
				}
				if strings.Contains(csp, "unsafe") {
					t.Errorf(`Content-Security-Policy: got %q, want it not to contain "unsafe"`, csp)
				}
			}
			if reply.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s (%d): got no nosniff, want it", r.Method, r.Path, reply.StatusCode)
			}
		}
	}
	if asked < 100 {
		t.Errorf("requests: got %d, want at least 100", asked)
	}
}

// S10: every route that can change something either checks the origin of the request, or is for
// programs and ignores cookies.
func TestS10NoOtherSiteChangesAnything(t *testing.T) {
	e := newEnv(t)
	_, admin := e.session(t, autobuild.RoleAdmin)
	foreign := []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}}, {},
	}
	people, programs := 0, 0
	for _, r := range e.routes() {
		if r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS" || r.Method == "TRACE" {
			continue
		}
		for _, header := range foreign {
			for _, kind := range []string{"application/x-www-form-urlencoded", "text/plain", "application/json"} {
				header = header.Clone()
				header.Set("Cookie", admin.Get("Cookie"))
				header.Set("Content-Type", kind)
				got := e.do(r.Method, r.Path, "{}", header).StatusCode
				want := http.StatusForbidden
				switch {
				case strings.HasPrefix(r.Path, "/extensions/"):
					want = http.StatusNoContent // the test's own route; routes of engines require a signature
				case machine(r.Path):
					want = http.StatusUnauthorized
				}
				if got != want {
					t.Errorf("%s %s as %s from %v: %d, want %d", r.Method, r.Path, kind, header, got, want)
				}
			}
		}
		if machine(r.Path) {
			programs++
		} else {
			people++
		}
	}
	if people < 20 {
		t.Errorf("routes of users: got %v, want at least 20", people)
	}
	if programs < 8 {
		t.Errorf("routes of programs: got %v, want at least 8", programs)
	}
}
