package bitbuckettest_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"slipway/config/must"
	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// env is a Bitbucket with one private repository, acme/app, that alice owns.
type env struct {
	*bitbuckettest.Server
	alice, bob *bitbuckettest.User
	acme       *bitbuckettest.Workspace
	app        *bitbuckettest.Repository
	consumer   *bitbuckettest.Consumer
	token      string // alice's
}

func newEnv(t *testing.T, change ...func(*bitbuckettest.Options)) *env {
	t.Helper()
	options := bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true}
	for _, f := range change {
		f(&options)
	}
	server, err := bitbuckettest.New(options)
	must.Succeed(t, err)
	t.Cleanup(server.Close)
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	server.SetURL(listener.URL)

	e := &env{Server: server, alice: server.AddUser("alice"), bob: server.AddUser("bob")}
	e.alice.SetPassword(secret.New("alice's password"))
	e.alice.SetGitPassword(secret.New("alice's git password"))
	e.bob.SetGitPassword(secret.New("bob's git password"))
	e.acme = server.AddWorkspace("acme", e.alice)
	e.app, err = server.AddRepository(e.acme, "app", bitbuckettest.Private)
	must.Succeed(t, err)
	e.consumer, err = server.AddConsumer(e.acme, "https://ci.example.com/oauth", "account", "repository", "webhook")
	must.Succeed(t, err)
	access, _ := server.Link(e.alice, e.consumer)
	e.token = access.Reveal()
	return e
}

// call makes an API request with alice's token and returns the status and the JSON answer.
func (e *env) call(t *testing.T, method, path string, body any) (int, map[string]any) {
	t.Helper()
	return e.callAs(t, e.token, method, path, body)
}

func (e *env) callAs(t *testing.T, token, method, path string, body any) (int, map[string]any) {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = e.URL() + path
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		must.Succeed(t, err)
		reader = strings.NewReader(string(encoded))
	}
	request, err := http.NewRequestWithContext(t.Context(), method, path, reader)
	must.Succeed(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	must.Succeed(t, err)
	defer response.Body.Close()
	reply := map[string]any{}
	text, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	must.Succeed(t, err)
	if len(text) > 0 {
		if err := json.Unmarshal(text, &reply); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return response.StatusCode, reply
}

// consumerOf adds a consumer with scopes.
func (e *env) consumerOf(t *testing.T, scopes ...string) *bitbuckettest.Consumer {
	t.Helper()
	consumer, err := e.AddConsumer(e.acme, "https://ci.example.com/oauth", scopes...)
	must.Succeed(t, err)
	return consumer
}

// send makes an API request with alice's token, and returns the response and its
// body. kind is the type of the request's body; empty = none.
func (e *env) send(t *testing.T, method, path, kind, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, e.URL()+path, strings.NewReader(body))
	must.Succeed(t, err)
	request.Header.Set("Authorization", "Bearer "+e.token)
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := http.DefaultClient.Do(request)
	must.Succeed(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	must.Succeed(t, err)
	return response, string(text)
}

// dig finds a value below maps and lists: dig(v, "values", 0, "name").
func dig(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// receiver is what a webhook's URL leads to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	response func(n int) int // status of the nth request, from 1
}

func newReceiver(t *testing.T, response func(n int) int) *receiver {
	t.Helper()
	r := &receiver{response: response}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(request.Body, 1<<20))
		r.mu.Lock()
		r.requests = append(r.requests, request)
		r.bodies = append(r.bodies, string(body))
		n := len(r.requests)
		r.mu.Unlock()
		w.WriteHeader(r.response(n))
	}))
	t.Cleanup(r.Close)
	return r
}

func ok(int) int { return http.StatusAccepted }

func (e *env) addHook(t *testing.T, url, key string) string {
	t.Helper()
	status, response := e.call(t, "POST", "/2.0/repositories/acme/app/hooks", map[string]any{
		"description": "ci", "url": url, "active": true, "secret": key, "events": []string{"repo:push"},
	})
	if status != http.StatusCreated {
		t.Fatalf("create hook: got status %d %v, want %d", status, response, http.StatusCreated)
	}
	return response["uuid"].(string)
}

// git runs git without the machine's configuration and returns its output.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{
		"-c", "user.name=Carol", "-c", "user.email=carol@elsewhere.example", "-c", "http.postBuffer=65536",
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0",
		"HOME=" + dir,
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := git(t, dir, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

// cloneURL has a credential in it, as people type it.
func (e *env) cloneURL(user, password string) string {
	rest, _ := strings.CutPrefix(e.app.CloneURL(), "http://")
	return fmt.Sprintf(
		"http://%s:%s@%s",
		user,
		strings.ReplaceAll(strings.ReplaceAll(password, " ", "%20"), "'", "%27"),
		rest,
	)
}

// incompressible makes a push too great for one buffer, so that git sends it in chunks.
func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
