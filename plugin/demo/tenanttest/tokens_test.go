package tenanttest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"slipway/plugin/bitbucket/webhook"
	"slipway/plugin/demo/localenv"
)

// tokens returns all tokens and secrets of a tenant, by kind.
func (t *tenant) tokens() map[string]string {
	all := map[string]string{
		"attempt token": t.attemptToken, "session": t.browser.SessionCookie()[len("slipway="):],
		"webhook secret": t.hook.Secret.Reveal(),
	}
	if t.pipelineToken != "" {
		all["pipeline token"] = t.pipelineToken
	}
	return all
}

// refusals are the statuses for a token without the permission.
var refusals = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}

// bodies returns valid request bodies for the routes that programs call.
func bodies(t *tenant) map[string]string {
	digest := fmt.Sprintf("sha256:%064d", 0)
	return map[string]string{
		"POST /runner/v1/builds/:id/claim":  `{"runner_id":"another","version":"1"}`,
		"POST /runner/v1/builds/:id/events": `{"events":[]}`,
		"POST /runner/v1/builds/:id/log":    "x",
		"POST /runner/v1/builds/:id/permit": `{"digest":"` + digest + `","tags":["latest"]}`,
		"POST /runner/v1/builds/:id/finish": `{"state":"failed","reason":"build"}`,
		"POST /runner/v1/automated/:id/join": fmt.Sprintf(
			`{"ref":"refs/heads/main","commit":"%s","pipeline":"another"}`, t.build.Commit.Hash),
		"POST /runner/v1/probe":     `{}`,
		"POST /hooks/bitbucket/:id": `{"push":{}}`,
	}
}

// tokensElsewhere uses each token of one tenant at each route that programs call, with the IDs of the
// other tenant.
func tokensElsewhere(e *env, from, to *tenant) {
	for _, route := range e.Gateway.Routes() {
		if kindOf(route) != program {
			continue
		}
		method, path := e.address(route, to)
		if route == "POST /runner/v1/builds/:id/log" {
			path += "?offset=0"
		}
		for kind, token := range from.tokens() {
			body := bodies(to)[route]
			for mode, header := range modes(token, body) {
				if !accepts(path, mode) {
					continue
				}
				response := e.ask(method, path, body, header)
				what := fmt.Sprintf("%s %s with the %s of %s by %s", method, path, kind, from.person.Name, mode)
				if !slices.Contains(refusals, response.Status) && response.Status != http.StatusMethodNotAllowed {
					e.T.Errorf("%s: got status %d, want one of %v: %s",
						what, response.Status, refusals, brief(response.Body))
				}
				e.hidesOf(to, what, response)
			}
		}
	}
}

// modes returns the headers that can contain a token, by authentication mode.
func modes(token, body string) map[string]http.Header {
	basic := base64.StdEncoding.EncodeToString([]byte("x-token-auth:" + token))
	signature := webhook.Sign([]byte(body), secretOf(token))
	return map[string]http.Header{
		"bearer":    {"Authorization": {"Bearer " + token}},
		"basic":     {"Authorization": {"Basic " + basic}},
		"signature": {webhook.SignatureHeader: {signature}, "X-Event-Key": {"repo:push"}},
	}
}

// accepts reports whether a route uses an authentication mode: webhooks are signed, git clients may use
// basic or bearer, and all other routes use bearer.
func accepts(path, mode string) bool {
	switch {
	case strings.HasPrefix(path, "/hooks/"):
		return mode == "signature"
	case strings.HasPrefix(path, gitPrefix):
		return mode != "signature"
	}
	return mode == "bearer"
}

// tokensAsSession uses each token of one tenant as a session cookie at the pages of the other tenant.
func tokensAsSession(e *env, from, to *tenant) {
	for kind, token := range from.tokens() {
		if kind == "session" {
			continue // routesBySession
		}
		for _, route := range []string{"GET /builds", "GET /builds/:number/log", "GET /automated-builds/:id"} {
			method, path := e.address(route, to)
			response := e.ask(method, path, "", http.Header{"Cookie": {"slipway=" + token}})
			what := fmt.Sprintf("%s %s with the %s of %s as a session", method, path, kind, from.person.Name)
			if response.Status != http.StatusSeeOther {
				e.T.Errorf("%s: got status %d, want 303 to the sign-in page", what, response.Status)
			}
			e.hidesOf(to, what, response)
		}
	}
}

// tokensAtProvider uses each token of one tenant at Bitbucket and the registry, for the repository and
// image of the other tenant.
func tokensAtProvider(e *env, from, to *tenant) {
	image := to.project.Image[len(e.Registry)+1:]
	for kind, token := range from.tokens() {
		for mode, header := range modes(token, "") {
			for _, address := range []string{
				e.Bitbucket.URL() + "/2.0/repositories/" + to.project.Repository.FullName(),
				e.Bitbucket.URL() + "/" + to.project.Repository.FullName() + ".git/info/refs?service=git-upload-pack",
				"http://" + e.Registry + "/v2/" + image + "/tags/list",
			} {
				response, err := localenv.Send(e.Context, http.MethodGet, address, "", header)
				e.Must(err)
				if !slices.Contains(refusals, response.Status) {
					e.T.Errorf("%s with the %s of %s by %s: got status %d, want one of %v",
						address, kind, from.person.Name, mode, response.Status, refusals)
				}
			}
		}
	}
}
