package source_test

import (
	"crypto/subtle"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cenkalti/backoff/v5"

	"slipway/config/secret"
	"slipway/runner/source"
	"slipway/runner/spec"
)

// A remote is a real repository served by git's own HTTP server.
type remote struct {
	*httptest.Server
	dir string

	mu     sync.Mutex
	around func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

const password = "git-canary"

func newRemote(t *testing.T) *remote {
	t.Helper()
	r := &remote{dir: t.TempDir()}
	execPath, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"), Root: "/",
		Stderr: io.Discard, Env: []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH"},
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, p, _ := req.BasicAuth(); subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 0 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.serve(w, req, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			h := *backend
			h.Env = append([]string{"GIT_PROTOCOL=" + req.Header.Get("Git-Protocol")}, h.Env...)
			h.ServeHTTP(w, req)
		}))
	}))
	t.Cleanup(r.Close)
	r.git(t, "init", "--quiet", "--initial-branch=main", r.work())
	r.git(t, "-C", r.work(), "config", "receive.denyCurrentBranch", "ignore")
	return r
}

func (r *remote) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	r.mu.Lock()
	around := r.around
	r.mu.Unlock()
	if around != nil {
		around(w, req, next)
		return
	}
	next.ServeHTTP(w, req)
}

func (r *remote) set(around func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.around = around
}

func (r *remote) work() string { return filepath.Join(r.dir, "app") }

func (r *remote) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files, commits them on the current branch and returns the hash.
func (r *remote) commit(t *testing.T, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		write(t, filepath.Join(r.work(), name), content)
	}
	r.git(t, "-C", r.work(), "add", "--all")
	r.git(t, "-C", r.work(), "commit", "--quiet", "--allow-empty", "--message=a change")
	return r.git(t, "-C", r.work(), "rev-parse", "HEAD")
}

func (r *remote) source(ref, commit string) spec.Source {
	return spec.Source{URL: r.URL + "/app/.git", Ref: ref, Commit: commit}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func options(t *testing.T) source.Options {
	t.Helper()
	dir := t.TempDir()
	return source.Options{
		Dir: filepath.Join(dir, "src"), Home: dir, Environ: os.Environ(), Attempts: 3, Backoff: &backoff.ZeroBackOff{},
	}
}

func credential() spec.Credential {
	return spec.Credential{Username: "x-token-auth", Password: secret.New(password)}
}
