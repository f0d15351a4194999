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

// tokens are all that a tenant holds and that could open something, by what they are.
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

// refusals are the statuses for a token that opens nothing.
var refusals = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}

// bodies are valid requests of the routes that programs call.
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

// tokensElsewhere tries each token of one tenant at each route that programs call, with the ids
// of the other one.
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
			for way, header := range ways(token, body) {
				if !taken(path, way) {
					continue
				}
				answer := e.ask(method, path, body, header)
				what := fmt.Sprintf("%s %s with the %s of %s by %s", method, path, kind, from.person.Name, way)
				if !slices.Contains(refusals, answer.Status) && answer.Status != http.StatusMethodNotAllowed {
					e.T.Errorf("%s: status %d, want one of %v: %s", what, answer.Status, refusals, brief(answer.Body))
				}
				e.hidesOf(to, what, answer)
			}
		}
	}
}

// ways are the headers in which a token can be shown.
func ways(token, body string) map[string]http.Header {
	basic := base64.StdEncoding.EncodeToString([]byte("x-token-auth:" + token))
	signature := webhook.Sign([]byte(body), secretOf(token))
	return map[string]http.Header{
		"bearer":    {"Authorization": {"Bearer " + token}},
		"basic":     {"Authorization": {"Basic " + basic}},
		"signature": {webhook.SignatureHeader: {signature}, "X-Event-Key": {"repo:push"}},
	}
}

// taken reports whether a route looks at a header at all: webhooks are signed, git clients may
// send either form of a token, and everything else takes a bearer.
func taken(path, way string) bool {
	switch {
	case strings.HasPrefix(path, "/hooks/"):
		return way == "signature"
	case strings.HasPrefix(path, gitPrefix):
		return way != "signature"
	}
	return way == "bearer"
}

// tokensAsSession tries each token of one tenant as a session at the pages of the other one.
func tokensAsSession(e *env, from, to *tenant) {
	for kind, token := range from.tokens() {
		if kind == "session" {
			continue // routesBySession
		}
		for _, route := range []string{"GET /builds", "GET /builds/:number/log", "GET /automated-builds/:id"} {
			method, path := e.address(route, to)
			answer := e.ask(method, path, "", http.Header{"Cookie": {"slipway=" + token}})
			what := fmt.Sprintf("%s %s with the %s of %s as a session", method, path, kind, from.person.Name)
			if answer.Status != http.StatusSeeOther {
				e.T.Errorf("%s: status %d, want 303 to the sign-in page", what, answer.Status)
			}
			e.hidesOf(to, what, answer)
		}
	}
}

// tokensAtProvider tries each token of one tenant at Bitbucket and the registry for what is the
// other one's.
func tokensAtProvider(e *env, from, to *tenant) {
	image := to.project.Image[len(e.Registry)+1:]
	for kind, token := range from.tokens() {
		for way, header := range ways(token, "") {
			for _, address := range []string{
				e.Bitbucket.URL() + "/2.0/repositories/" + to.project.Repository.FullName(),
				e.Bitbucket.URL() + "/" + to.project.Repository.FullName() + ".git/info/refs?service=git-upload-pack",
				"http://" + e.Registry + "/v2/" + image + "/tags/list",
			} {
				answer, err := localenv.Send(e.Context, http.MethodGet, address, "", header)
				e.Must(err)
				if !slices.Contains(refusals, answer.Status) {
					e.T.Errorf("%s with the %s of %s by %s: status %d, want one of %v",
						address, kind, from.person.Name, way, answer.Status, refusals)
				}
			}
		}
	}
}
