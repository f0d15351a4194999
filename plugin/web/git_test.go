package web_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
	"slipway/plugin/store/storetest"
	"slipway/plugin/web"
)

// started stores a build with an active attempt.
func (e *env) started(t *testing.T, token string) autobuild.Build {
	t.Helper()
	owner := storetest.AutomatedBuild(t, e.store, storetest.Repository("app"))
	b, _, err := e.store.CreateBuild(
		t.Context(),
		storetest.Draft(owner, storetest.Main(), storetest.Commit(1), autobuild.CauseManual),
	)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.store.StartAttempt(
		t.Context(),
		b.ID,
		"embedded",
		autobuild.TokenHash(secret.New(token)),
		time.Now().Add(time.Hour),
		autobuild.Limits{},
	)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The router decodes and cleans paths, but the git proxy compares the original path. None of these
// forms of an address is served, and none redirects to it.
func TestGitPathsAreNotNormalized(t *testing.T) {
	e := newEnv(t)
	const token = "attempt-token"
	b := e.started(t, token)
	server := httptest.NewServer(e)
	defer server.Close()
	const rest = "/info/refs?service=git-upload-pack"
	for line, want := range map[string]int{
		// Served: the account does not exist.
		"GET /git/" + b.ID + rest:                                                  http.StatusNotFound,
		"GET /git/" + b.ID + "//info/refs?service=git-upload-pack":                 http.StatusForbidden,
		"GET /git//" + b.ID + rest:                                                 http.StatusForbidden,
		"GET /git/x/../" + b.ID + rest:                                             http.StatusForbidden,
		"GET /git/x/%2e%2e/" + b.ID + rest:                                         http.StatusForbidden,
		"GET /git/" + b.ID + "%2Finfo/refs?service=git-upload-pack":                http.StatusForbidden,
		"GET /git/" + b.ID + "/info%2Frefs?service=git-upload-pack":                http.StatusForbidden,
		"GET /git/" + b.ID + "/info/refs/?service=git-upload-pack":                 http.StatusForbidden,
		"GET /git/" + b.ID + "/info/refs?service=git-receive-pack":                 http.StatusForbidden,
		"GET http://slipway.example.com/git/" + b.ID + rest:                        http.StatusForbidden,
		"PUT /git/" + b.ID + "/info/lfs/objects/x":                                 http.StatusMethodNotAllowed,
		"HEAD /git/" + b.ID + rest:                                                 http.StatusMethodNotAllowed,
		"GET //git/" + b.ID + rest:                                                 http.StatusNotFound, // the router's 404
		"GET /GIT/" + b.ID + rest:                                                  http.StatusNotFound,
		"GET /x/../git/" + b.ID + rest:                                             http.StatusNotFound,
		"GET /healthz/../git/" + b.ID + rest:                                       http.StatusNotFound,
		"POST /git/" + b.ID + "/git-receive-pack":                                  http.StatusForbidden,
		"GET /git/" + b.ID + "/lfs/../info/refs?service=git-upload-pack&x=%2e%2e/": http.StatusForbidden,
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(
			conn,
			"%s HTTP/1.1\r\nHost: slipway.example.com\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Length: "+
				"0\r\n\r\n",
			line,
			token,
		)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: got error %v, want none", line, err)
		}
		body, _ := io.ReadAll(resp.Body) // empty for HEAD
		conn.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got status %d %q, want %d", line, resp.StatusCode, body, want)
		}
		if got := resp.Header.Get("Location"); got != "" {
			t.Errorf("%s: got Location %s, want none", line, got)
		}
	}
}

// Git asks for a password after a 401, and shows plain text; git-lfs shows the message of JSON.
func TestGitErrorsAreForGit(t *testing.T) {
	e := newEnv(t)
	b := e.started(t, "attempt-token")
	for path, want := range map[string]struct{ kind, body string }{
		"/git/" + b.ID + "/info/refs?service=git-upload-pack": {"text/plain; charset=utf-8", "this address needs the " +
			"token of a running attempt\n"},
		"/git/" + b.ID + "/info/lfs/objects/batch": {
			"application/vnd.git-lfs+json",
			`{"message":"this address needs the token of a running attempt"}`,
		},
	} {
		method := http.MethodGet
		if strings.HasSuffix(path, "batch") {
			method = http.MethodPost
		}
		resp := e.do(method, path, "", http.Header{"Authorization": {"Bearer wrong"}})
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got status %d, want 403", path, resp.StatusCode)
		}
		if got := resp.Header.Get("Content-Type"); got != want.kind {
			t.Errorf("%s: got content type %s, want %s", path, got, want.kind)
		}
		if string(body) != want.body {
			t.Errorf("%s: got %q, want %q", path, body, want.body)
		}
	}
}

// Guessed tokens for git are limited like those of the runner protocol.
func TestGuessedGitTokensAreLimited(t *testing.T) {
	e := newEnv(t)
	b := e.started(t, "attempt-token")
	limited := 0
	for i := range 300 {
		resp := e.do(
			http.MethodGet,
			"/git/"+b.ID+"/info/refs?service=git-upload-pack",
			"",
			http.Header{"Authorization": {fmt.Sprint("Bearer ", i)}},
		)
		if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited == 0 {
		t.Error("responses to guessed tokens: got 300 without a limit, want a limit")
	}
}

// breaking is a proxy with an incomplete response.
type breaking struct{}

func (breaking) Serve(w http.ResponseWriter, _ *http.Request) error {
	_, _ = io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// An incomplete response must not look complete, so recovery closes the connection.
func TestABrokenGitAnswerEndsTheConnection(t *testing.T) {
	e := newEnv(t, func(o *web.Options) { o.Git = breaking{} })
	server := httptest.NewServer(e)
	defer server.Close()
	resp, err := http.Get(server.URL + "/git/x/info/refs")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("connection: got %q and the end of the body, want a broken connection", body)
	}
}
