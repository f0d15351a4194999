package tenanttest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"slipway/plugin/demo/localenv"
)

// program sends a request as a program does, with a bearer token if it is not empty.
func (e *env) program(method, path, token, body string) localenv.Response {
	e.T.Helper()
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return e.ask(method, path, body, header)
}

// person sends a request as a tenant's browser does. If t is nil, the browser has no session.
func (e *env) person(t *tenant, method, path string) localenv.Response {
	e.T.Helper()
	header := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if t != nil {
		header.Set("Cookie", t.browser.SessionCookie())
		return e.ask(method, path, "", header)
	}
	// Without a session, most requests count as sign-ins, which have a rate limit. So do not retry.
	response, err := localenv.Send(e.Context, method, e.Gateway.URL+path, "", header)
	e.Must(err)
	return response
}

// streamTime is the maximum time to read one response. The log of a running build is a stream.
const streamTime = 5 * time.Second

// ask sends a request. It retries while the gateway returns 429 Too Many Requests.
func (e *env) ask(method, path, body string, header http.Header) (response localenv.Response) {
	e.T.Helper()
	e.WaitUntil(method+" "+path+" is answered", func() (bool, error) {
		ctx, cancel := context.WithTimeout(e.Context, streamTime)
		defer cancel()
		var err error
		response, err = localenv.Send(ctx, method, e.Gateway.URL+path, body, header)
		return response.Status != http.StatusTooManyRequests, err
	})
	return response
}

// hidesOf checks that a response contains no canary of a tenant.
func (e *env) hidesOf(t *tenant, what string, response localenv.Response) {
	e.T.Helper()
	var text strings.Builder
	if err := response.Header.Write(&text); err != nil {
		e.T.Error(err)
	}
	text.WriteString(response.Body)
	e.hides(t, what, text.String())
}

func (e *env) hides(t *tenant, what, text string) {
	e.T.Helper()
	for kind, canary := range t.canaries {
		if strings.Contains(text, canary) {
			e.T.Errorf("%s: got the %s of %s, want none: %s", what, kind, t.person.Name, around(text, canary))
		}
	}
}

func around(text, what string) string {
	at := strings.Index(text, what)
	return fmt.Sprintf("%q", text[max(0, at-60):min(len(text), at+len(what)+60)])
}
