package gitproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"slipway/plugin/bitbucket/bitbuckettest/faults"
)

// raw sends a request line unchanged, and returns the status and body of the response.
func (e *env) raw(line string, headers ...string) (int, string) {
	e.t.Helper()
	conn, err := net.Dial("tcp", hostOf(e.gateway.URL))
	e.must(err)
	defer conn.Close()
	text := line + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	_, err = io.WriteString(conn, text)
	e.must(err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	e.must(err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // a broken body is part of what is tested
	return resp.StatusCode, string(body)
}

// Paths are compared as sent, without decoding and cleaning.
func TestOnlyTheBuildsRepositoryIsServed(t *testing.T) {
	e := newEnv(t)
	other, _ := e.start(e.commit)
	token := "Authorization: Bearer " + e.token
	base, kind := "/git/"+e.build.ID, "Content-Type: application/x-git-upload-pack-request"
	for name, tt := range map[string]struct {
		line    string
		headers []string
	}{
		"push, discovery": {"GET " + base + "/info/refs?service=git-receive-pack", []string{token}},
		"push": {
			"POST " + base + "/git-receive-pack",
			[]string{token, "Content-Type: application/x-git-receive-pack-request", "Content-Length: 0"},
		},
		"dumb protocol":       {"GET " + base + "/info/refs", []string{token}},
		"dumb protocol, HEAD": {"GET " + base + "/HEAD", []string{token}},
		"a HEAD request":      {"HEAD " + base + refs, []string{token}},
		"a second service":    {"GET " + base + refs + "&service=git-receive-pack", []string{token}},
		"an encoded service":  {"GET " + base + "/info/refs?service=git%2Dupload-pack", []string{token}},
		"two slashes":         {"GET " + base + "//info/refs?service=git-upload-pack", []string{token}},
		"two slashes first":   {"GET //git/" + e.build.ID + refs, []string{token}},
		"dots":                {"GET " + base + "/../" + other.ID + refs, []string{token}},
		"encoded dots":        {"GET " + base + "/%2e%2e/" + other.ID + refs, []string{token}},
		"an encoded slash":    {"GET " + base + "%2Finfo/refs?service=git-upload-pack", []string{token}},
		"a dot":               {"GET " + base + "/./info/refs?service=git-upload-pack", []string{token}},
		"a semicolon":         {"GET " + base + ";x/info/refs?service=git-upload-pack", []string{token}},
		"a slash at the end":  {"GET " + base + "/info/refs/?service=git-upload-pack", []string{token}},
		"absolute form":       {"GET http://gateway" + base + refs, []string{token}},
		"another build":       {"GET /git/" + other.ID + refs, []string{token}},
		"an upgrade":          {"GET " + base + refs, []string{token, "Connection: Upgrade", "Upgrade: h2c"}},
		"two authorizations":  {"GET " + base + refs, []string{token, token}},
		"no authorization":    {"GET " + base + refs, nil},
		"basic authorization": {"GET " + base + refs, []string{"Authorization: Basic eDp5"}},
		"a wrong token":       {"GET " + base + refs, []string{"Authorization: Bearer x"}},
		"an empty token":      {"GET " + base + refs, []string{"Authorization: Bearer "}},
		"another content type": {
			"POST " + base + pack, []string{token, "Content-Type: text/plain", "Content-Length: 0"},
		},
		"a POST with a query":      {"POST " + base + pack + "?x=1", []string{token, kind, "Content-Length: 0"}},
		"LFS locks":                {"POST " + base + "/info/lfs/locks/verify", []string{token, "Content-Length: 0"}},
		"an LFS object's own name": {"GET " + base + "/lfs/" + strings.Repeat("a", 64), []string{token}},
	} {
		status, body := e.raw(tt.line, tt.headers...)
		if status != http.StatusForbidden {
			t.Errorf("%s: got status %d %q, want 403", name, status, body)
		}
	}
	if got := len(e.upstream()); got != 0 {
		t.Errorf("upstream requests: got %d, want 0", got)
	}
}

// A client can list Authorization in its Connection header, so that a proxy removes it. The upstream still
// gets the account's credential.
func TestTheCredentialSurvivesAConnectionHeader(t *testing.T) {
	e := newEnv(t)
	status, _ := e.raw(
		"GET /git/"+e.build.ID+refs,
		"Authorization: Bearer "+e.token,
		"Connection: Authorization, close",
	)
	if status != http.StatusOK {
		t.Errorf("status: got %d, want 200", status)
	}
	seen := e.upstream()
	if len(seen) != 1 {
		t.Fatalf("upstream requests: got %d, want 1", len(seen))
	}
	if _, password, _ := seen[0].BasicAuth(); password != e.current() {
		t.Error("credential: got another one, want the account's")
	}
}

// Only listed headers are forwarded, in both directions.
func TestHeadersArePickedFromAList(t *testing.T) {
	e := newEnv(t)
	e.faults.Add(
		faults.Rule{
			Path: "/acme/app.git/info/refs",
			Fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				for _, name := range []string{"Set-Cookie", "X-Canary", "WWW-Authenticate", "Location", "Link"} {
					w.Header().Set(name, "canary")
				}
				next.ServeHTTP(w, r)
			},
		},
	)
	resp := e.do(http.MethodGet, refs, nil, func(r *http.Request) {
		for _, name := range []string{"Cookie", "X-Forwarded-For", "Forwarded", "Referer", "Proxy-Authorization", "X-Canary"} {
			r.Header.Set(name, "canary")
		}
		r.Header.Set("Git-Protocol", "version=2")
	})
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status: got %d, want 200", resp.StatusCode)
	}
	if text := fmt.Sprint(resp.Header); strings.Contains(text, "canary") {
		t.Errorf("headers: got %s, want none of the upstream's own", text)
	}
	seen := e.upstream()
	if len(seen) != 1 {
		t.Fatalf("upstream requests: got %d, want 1", len(seen))
	}
	if text := fmt.Sprint(seen[0].Header); strings.Contains(text, "canary") {
		t.Errorf("headers: got %s, want none of the client's own", text)
	}
	if got := seen[0].Header.Get("Git-Protocol"); got != "version=2" {
		t.Errorf("Git-Protocol: got %q, want version=2", got)
	}
}

// A request with both a length and chunks is rejected, because servers read it in different ways.
func TestTwoFramingsAreOneRequest(t *testing.T) {
	e := newEnv(t)
	smuggled := "GET /acme/secret.git/info/refs HTTP/1.1\r\nHost: x\r\n\r\n"
	body := "0\r\n\r\n" + smuggled
	status, _ := e.raw(
		"POST /git/"+e.build.ID+pack,
		"Authorization: Bearer "+e.token,
		"Content-Type: application/x-git-upload-pack-request",
		fmt.Sprintf("Content-Length: %d", len(body)),
		"Transfer-Encoding: chunked",
		"",
		body,
	)
	for _, r := range e.upstream() {
		if strings.Contains(r.URL.Path, "secret") {
			t.Errorf("upstream request: got %s (status %d), want none", r.URL.Path, status)
		}
	}
}
