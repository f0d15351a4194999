package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/store/storetest"
	"slipway/plugin/web/pages/pagestest"
)

// S3: each kind of secret is accepted by its own route and by no other.
func TestS3NoTokenServesForAnother(t *testing.T) {
	e := newEnv(t)
	secrets, routes := e.secretsAndRoutes(t)
	for kind, value := range secrets {
		for name, route := range routes {
			if route.secret == kind {
				continue
			}
			for form, v := range map[string]string{"itself": value, "its hash": autobuild.TokenHash(secret.New(value))} {
				if got := route.send(v).StatusCode; got != route.rejected {
					t.Errorf("%s of the %s token at %s: got %d, want %d", form, kind, name, got, route.rejected)
				}
			}
		}
	}
	for name, route := range routes {
		if route.secret == "" || name == "first" {
			continue
		}
		if got := route.send(secrets[route.secret]).StatusCode; got == route.rejected {
			t.Errorf("%s: got %d for its own token, want another status", name, got)
		}
	}
}

// A secretRoute is a route with the way to send it a secret.
type secretRoute struct {
	send     func(token string) *http.Response
	rejected int    // the status for other secrets
	secret   string // the kind that is accepted; empty means none of them
}

// secretsAndRoutes returns one secret of each kind, by kind, and the routes that accept one, by name.
func (e *env) secretsAndRoutes(t *testing.T) (map[string]string, map[string]secretRoute) {
	t.Helper()
	hook := e.hook(t)
	a := storetest.AutomatedBuild(t, e.store, hook.Repository)
	builds, err := e.store.Plan(t.Context(), storetest.Push(a, storetest.Main(), "", storetest.Commit(1)))
	must.Succeed(t, err)
	runner, pipeline, first := autobuild.NewToken(), autobuild.NewToken(), autobuild.NewToken()
	deadline := time.Now().Add(time.Hour)
	_, err = e.store.StartAttempt(
		t.Context(),
		builds[0].ID,
		"embedded",
		autobuild.TokenHash(runner),
		deadline,
		autobuild.Limits{},
	)
	must.Succeed(t, err)
	must.Succeed(t, e.store.SetPipelineToken(t.Context(), a.ID, autobuild.TokenHash(pipeline), "alice"))
	must.Succeed(t, e.store.CreateFirstToken(t.Context(), autobuild.TokenHash(first), deadline))
	session, _ := e.session(t, pagestest.Reader)

	routes := e.pageRoutes()
	for name, body := range map[string]string{
		"events": `{}`, "log?offset=0": `x`, "permit": `{"tags":["x"]}`, "claim": `{}`, "finish": `{`,
	} {
		path := "/runner/v1/builds/" + builds[0].ID + "/" + name
		routes[name] = secretRoute{e.bearer(path, body), http.StatusUnauthorized, "runner"}
	}
	join := `{"ref":"refs/heads/none","commit":"` + strings.Repeat("a", 40) + `","pipeline":"p"}`
	joinPath := "/runner/v1/automated/" + a.ID + "/join"
	routes["join"] = secretRoute{e.bearer(joinPath, join), http.StatusUnauthorized, "pipeline"}
	routes["probe"] = secretRoute{e.bearer("/runner/v1/probe", ``), http.StatusUnauthorized, ""}
	routes["hook"] = secretRoute{func(token string) *http.Response {
		signature := webhook.Sign([]byte("{}"), secret.New(token))
		return e.do("POST", "/hooks/bitbucket/"+hook.ID, "{}", http.Header{webhook.SignatureHeader: {signature}})
	}, http.StatusUnauthorized, "hook"}
	return map[string]string{
		"session":  session,
		"runner":   runner.Reveal(),
		"pipeline": pipeline.Reveal(),
		"hook":     "hook-secret",
		"first":    first.Reveal(),
	}, routes
}

// pageRoutes returns pages that need a session, with a token in several places, and the sign-in
// with the first administrator's token.
func (e *env) pageRoutes() map[string]secretRoute {
	return map[string]secretRoute{
		"session": {
			func(token string) *http.Response { return e.do("GET", "/builds", "", cookie(token)) },
			http.StatusSeeOther, "session",
		},
		"session by bearer": {func(token string) *http.Response {
			return e.do("GET", "/builds", "", http.Header{"Authorization": {"Bearer " + token}})
		}, http.StatusSeeOther, ""},
		"session by query": {func(token string) *http.Response {
			return e.do("GET", "/deliveries?access_token="+token+"&token="+token, "", nil)
		}, http.StatusSeeOther, ""},
		"first": {func(token string) *http.Response {
			header := http.Header{
				"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"},
			}
			return e.do("POST", "/signin/token", "token="+token, header)
		}, http.StatusGone, "first"},
	}
}

// bearer sends a token as the Authorization of a POST.
func (e *env) bearer(path, body string) func(token string) *http.Response {
	return func(token string) *http.Response {
		return e.do("POST", path, body, http.Header{"Authorization": {"Bearer " + token}})
	}
}
