package bitbuckettest_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"slipway/config/secret"
	"slipway/plugin/bitbucket/bitbuckettest"
)

// place is a Bitbucket with one private repository, acme/app, that alice owns.
type place struct {
	*bitbuckettest.Server
	alice, bob *bitbuckettest.User
	acme       *bitbuckettest.Workspace
	app        *bitbuckettest.Repository
	consumer   *bitbuckettest.Consumer
	token      string // alice's
}

func newPlace(t *testing.T, change ...func(*bitbuckettest.Options)) *place {
	t.Helper()
	options := bitbuckettest.Options{Root: t.TempDir(), AllowPrivateHooks: true}
	for _, f := range change {
		f(&options)
	}
	server, err := bitbuckettest.New(options)
	must(t, err)
	t.Cleanup(server.Close)
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	server.SetURL(listener.URL)

	p := &place{Server: server, alice: server.AddUser("alice"), bob: server.AddUser("bob")}
	p.alice.SetPassword(secret.New("alice's password"))
	p.alice.SetGitPassword(secret.New("alice's git password"))
	p.bob.SetGitPassword(secret.New("bob's git password"))
	p.acme = server.AddWorkspace("acme", p.alice)
	p.app, err = server.AddRepository(p.acme, "app", bitbuckettest.Private)
	must(t, err)
	p.consumer, err = server.AddConsumer(p.acme, "https://ci.example.com/oauth", "account", "repository", "webhook")
	must(t, err)
	access, _ := server.Link(p.alice, p.consumer)
	p.token = access.Reveal()
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call makes an API request with alice's token and returns the status and the JSON answer.
func (p *place) call(t *testing.T, method, path string, body any) (int, map[string]any) {
	t.Helper()
	return p.callAs(t, p.token, method, path, body)
}

func (p *place) callAs(t *testing.T, token, method, path string, body any) (int, map[string]any) {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = p.URL() + path
	}
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		must(t, err)
		reader = strings.NewReader(string(encoded))
	}
	request, err := http.NewRequestWithContext(t.Context(), method, path, reader)
	must(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	answer := map[string]any{}
	text, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	must(t, err)
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return response.StatusCode, answer
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
	answer   func(n int) int // status of the nth request, from 1
}

func newReceiver(t *testing.T, answer func(n int) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(request.Body, 1<<20))
		r.mu.Lock()
		r.requests = append(r.requests, request)
		r.bodies = append(r.bodies, string(body))
		n := len(r.requests)
		r.mu.Unlock()
		w.WriteHeader(r.answer(n))
	}))
	t.Cleanup(r.Close)
	return r
}

func ok(int) int { return http.StatusAccepted }

func (p *place) addHook(t *testing.T, url, key string) string {
	t.Helper()
	status, answer := p.call(t, "POST", "/2.0/repositories/acme/app/hooks", map[string]any{
		"description": "ci", "url": url, "active": true, "secret": key, "events": []string{"repo:push"},
	})
	if status != http.StatusCreated {
		t.Fatalf("create hook: %d %v", status, answer)
	}
	return answer["uuid"].(string)
}

// git runs git as a stranger would, without the machine's configuration.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{
		"-c", "user.name=Carol", "-c", "user.email=carol@elsewhere.example", "-c", "http.postBuffer=65536",
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "HOME=" + dir}
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
func (p *place) cloneURL(user, password string) string {
	rest, _ := strings.CutPrefix(p.app.CloneURL(), "http://")
	return fmt.Sprintf("http://%s:%s@%s", user, strings.ReplaceAll(strings.ReplaceAll(password, " ", "%20"), "'", "%27"), rest)
}

func TestAPushOfManyRefsIsOneSignedWebhook(t *testing.T) {
	p := newPlace(t)
	hooked := newReceiver(t, ok)
	uuid := p.addHook(t, hooked.URL+"/hooks/1", "s3cret")
	first, err := p.app.Commit(t.Context(), "main", map[string]string{"Dockerfile": "FROM scratch\n"}, "First")
	must(t, err)
	must(t, p.app.Push(t.Context(), map[string]string{"refs/heads/old": first}))
	must(t, p.WaitIdle(t.Context()))

	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, "/", "clone", p.cloneURL("alice", "alice's git password"), work)
	must(t, os.WriteFile(filepath.Join(work, "big.bin"), incompressible(1<<20), 0o600))
	mustGit(t, work, "add", ".")
	mustGit(t, work, "commit", "-m", "Second")
	mustGit(t, work, "tag", "v1")
	mustGit(t, work, "tag", "-a", "-m", "The second", "feature/v2")
	head := mustGit(t, work, "rev-parse", "HEAD")
	mustGit(t, work, "push", "origin", "main", "v1", "feature/v2", ":old")
	must(t, p.WaitIdle(t.Context()))

	hooked.mu.Lock()
	defer hooked.mu.Unlock()
	if len(hooked.requests) != 3 {
		t.Fatalf("%d webhooks, want 3: one for each push", len(hooked.requests))
	}
	request, body := hooked.requests[2], hooked.bodies[2]
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte(body))
	for name, want := range map[string]string{
		"X-Event-Key": "repo:push", "X-Hook-UUID": strings.Trim(uuid, "{}"), "X-Attempt-Number": "1",
		"User-Agent": "Bitbucket-Webhooks/2.0", "Content-Type": "application/json",
		"X-Hub-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var payload any
	must(t, json.Unmarshal([]byte(body), &payload))
	changes, _ := dig(payload, "push", "changes").([]any)
	if len(changes) != 4 {
		t.Fatalf("%d changes, want 4: %s", len(changes), body)
	}
	for i, want := range []struct{ side, kind, name, hash string }{
		{"new", "branch", "main", head}, {"old", "branch", "old", first}, {"new", "tag", "feature/v2", head}, {"new", "tag", "v1", head},
	} {
		got := []any{dig(changes[i], want.side, "type"), dig(changes[i], want.side, "name"), dig(changes[i], want.side, "target", "hash")}
		if fmt.Sprint(got) != fmt.Sprint([]any{want.kind, want.name, want.hash}) {
			t.Errorf("change %d: %v, want %+v", i, got, want)
		}
	}
}

// incompressible makes a push too great for one buffer, so that git sends it in chunks.
func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
